//! Contacts of residues: transformers' `predict_contacts`, and what heads that are gone or masked have to say.

use bertology_model::{
    Contacts, Error, HeadId, HeadMask, Masking, Model, PackedBatch, PassOptions, Real, Sequence,
    Workspace,
};
use bertology_testkit::Tensors;

use crate::fixture::{Fixture, distance};

/// Probabilities, absolute.
const VALUE: f64 = 1e-5;

struct Proteins {
    fixture: Fixture,
    sequences: Vec<Sequence>,
    /// Of each protein, `[residues, residues]`.
    theirs: Vec<Vec<f64>>,
}

impl Proteins {
    fn open() -> Self {
        let fixture = Fixture::open("esm-mlm");
        let file = Tensors::read(&fixture.folder.join("contacts.safetensors"));
        let (ids, mask) = (file.f64("input_ids"), file.f64("attention_mask"));
        let (contacts, shape) = (file.f64("contacts"), file.shape("contacts"));
        let (width, side) = (file.shape("input_ids")[1], shape[1]);
        let lengths = mask
            .chunks(width)
            .map(|row| row.iter().sum::<f64>() as usize);
        let (mut sequences, mut theirs) = (Vec::new(), Vec::new());
        for (at, length) in lengths.enumerate() {
            let own = &ids[at * width..][..length];
            sequences.push(Sequence::new(own.iter().map(|id| *id as u32).collect()));
            let rows = contacts[at * side * side..].chunks(side).take(length - 2);
            theirs.push(rows.flat_map(|row| row[..length - 2].to_vec()).collect());
        }
        Self {
            fixture,
            sequences,
            theirs,
        }
    }

    fn contacts<R: Real>(&self, model: &Model<R>, masking: Masking<'_>) -> Vec<Contacts> {
        let batch = PackedBatch::new(model.architecture(), &self.sequences).expect("batch");
        let options = PassOptions {
            masking,
            ..PassOptions::default()
        };
        let found = model.contacts(&batch, &options, &mut Workspace::new());
        found.expect("contacts")
    }
}

fn check<R: Real>(proteins: &Proteins) {
    let found = proteins.contacts(&proteins.fixture.model::<R>(), Masking::None);
    assert_eq!(found.len(), 5);
    for (ours, theirs) in found.iter().zip(&proteins.theirs) {
        assert_eq!(ours.residues * ours.residues, theirs.len());
        let off = distance(&ours.probabilities, theirs);
        assert!(off <= VALUE, "off by {off:e}");
    }
}

/// A text with masks, one with an end within it, and one of a single residue among them.
#[test]
fn they_are_those_of_transformers() {
    let proteins = Proteins::open();
    check::<f32>(&proteins);
    check::<f64>(&proteins);
    let residues: Vec<usize> = proteins.sequences.iter().map(|s| s.len() - 2).collect();
    assert_eq!(residues, [12, 4, 7, 7, 1]);
}

#[test]
fn a_head_that_is_gone_or_masked_has_nothing_to_say() {
    let proteins = Proteins::open();
    let model = proteins.fixture.model::<f64>();
    let whole = proteins.contacts(&model, Masking::None);
    let gone = [HeadId { layer: 0, head: 3 }, HeadId { layer: 2, head: 1 }];
    let mut mask = HeadMask::ones(&model);
    gone.iter().for_each(|head| mask.set(*head, 0.0));
    let masked = proteins.contacts(&model, Masking::Shared(&mask));
    let pruned = model.without_heads(gone).expect("pruned");
    let pruned = proteins.contacts(&pruned, Masking::None);
    for ((masked, pruned), whole) in masked.iter().zip(&pruned).zip(&whole) {
        assert!(distance(&masked.probabilities, &pruned.probabilities) < 1e-12);
        // A single residue has nothing that the mean does not explain.
        let far = distance(&whole.probabilities, &pruned.probabilities) > 1e-3;
        assert_eq!(far, whole.residues > 1);
        let side = whole.residues;
        for (i, j) in (0..side * side).map(|at| (at / side, at % side)) {
            let twin = whole.probabilities[j * side + i];
            assert!((whole.probabilities[i * side + j] - twin).abs() < 1e-12);
        }
    }
    // Without any head there is the bias alone, the same everywhere.
    let none = model.without_heads(model.heads()).expect("pruned");
    let none = proteins.contacts(&none, Masking::None);
    let all = none.iter().flat_map(|contacts| &contacts.probabilities);
    let all: Vec<f64> = all.copied().collect();
    assert!(all.iter().all(|value| *value == all[0]) && all[0] > 0.0);
}

#[test]
fn what_has_no_contacts_says_so() {
    let fixture = Fixture::open("bert-absolute");
    let model = fixture.model::<f32>();
    let batch = fixture.batch(&model);
    let refused = model.contacts(&batch, &PassOptions::default(), &mut Workspace::new());
    assert!(matches!(refused, Err(Error::NoContactHead)));

    let fixture = Fixture::open("esm-mlm");
    let model = fixture.model::<f32>();
    let (batch, targets) = (fixture.batch(&model), fixture.targets());
    let options = PassOptions {
        targets: Some(&targets),
        ..PassOptions::default()
    };
    let refused = model.contacts(&batch, &options, &mut Workspace::new());
    assert!(matches!(refused, Err(Error::ObservedOnly)));
}
