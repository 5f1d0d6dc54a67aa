//! Models against files that transformers 4.57.6 filled, and against the same files with faults.
#![allow(clippy::unwrap_used)]

mod file;

use std::path::{Path, PathBuf};

use bertology::verify::{Reference, ReferenceError, Verification, verify};
use bertology::{HeadId, LoadedModel};
use safetensors::Dtype;

use file::{File, golden, options};

#[track_caller]
fn agrees(found: &Verification) {
    if let Some(first) = found.first_divergence() {
        panic!("{first:#?}");
    }
}

/// Every group of every golden folder, and not one tensor of a group left aside.
#[test]
fn every_golden_folder_agrees() {
    let mut groups = 0;
    for name in bertology_testkit::golden_folders("engine") {
        let folder = golden(&name);
        let file = File::read(&folder.join("golden.safetensors"));
        let model = LoadedModel::open(&folder).unwrap();
        let reference = Reference::open(folder.join("golden.safetensors")).unwrap();
        for prefixes in [
            &["ones"][..],
            &["some."],
            &["layer_off."],
            &["left."],
            &["left_positions.", "left."],
        ] {
            let group = format!("{}.", prefixes[0].trim_end_matches('.'));
            let input = |name: &str| {
                name.ends_with("head_mask")
                    || [
                        "input_ids",
                        "attention_mask",
                        "position_ids",
                        "labels",
                        "targets",
                        "start_positions",
                        "end_positions",
                    ]
                    .iter()
                    .any(|input| name.ends_with(input))
            };
            let names = file.tensors.keys();
            let results = names.filter(|n| n.starts_with(&group) && !input(n)).count();
            if results == 0 {
                continue;
            }
            let found = verify(model.model(), &reference, &options(prefixes))
                .unwrap_or_else(|e| panic!("{} {group}: {e}", folder.display()));
            agrees(&found);
            assert_eq!(
                found.comparisons.len(),
                results,
                "{} {group}",
                folder.display()
            );
            let all = found.inputs.len() + found.ignored.len() + results;
            assert_eq!(all, file.tensors.len(), "every tensor is accounted for");
            let family = name
                .split_once('-')
                .map_or(name.as_str(), |(first, _)| first);
            let texts = match family {
                "mpnet" | "esm" | "esmc" => (3, 29, 13),
                _ if name == "modernbert-answers" => (3, 36, 0),
                "modernbert" | "eurobert" | "nomic" | "gte" => (3, 25, 11),
                _ if name == "albert-answers" || name == "deberta-answers" => (3, 24, 0),
                "deberta" => (3, 29, 13),
                _ => (4, 24, 8),
            };
            assert_eq!((found.sequences, found.tokens, found.padding), texts);
            groups += 1;
        }
    }
    assert!(groups > 50, "{groups}");
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What the lines of docs/commands/verify.md write: names of transformers, a mean loss, padding.
#[test]
fn what_the_documented_lines_of_python_write_agrees() {
    for name in ["tiny-bert", "tiny-gpt2"] {
        let model = LoadedModel::open(repository().join("assets").join(name)).unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/references")
            .join(format!("{name}.safetensors"));
        let reference = Reference::open(file).unwrap();
        let found = verify(model.model(), &reference, &options(&[])).unwrap();
        agrees(&found);
        // Five hidden states and four attentions, their gradients, logits and loss.
        assert_eq!(found.comparisons.len(), 20, "{name}");
        assert_eq!(found.sequences, 2);
        assert!(found.padding > 0);
        let heads = found.comparisons.iter().flat_map(|c| &c.heads);
        // Attention and gradient of 16 heads; that of a head that is masked to zero is unknown.
        let masked = usize::from(found.inputs.contains(&"head_mask".to_owned()));
        assert_eq!(masked, usize::from(name == "tiny-gpt2"));
        assert_eq!(heads.count(), 2 * 16 - masked);
    }
}

/// The smallest of the usual mistakes: the other form of GELU.
#[test]
fn another_activation_is_found_behind_the_first_feed_forward_block() {
    let assets = repository().join("assets/tiny-bert");
    let folder = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(assets.join("config.json")).unwrap();
    let changed = config.replace("\"gelu\"", "\"gelu_new\"");
    assert_ne!(config, changed);
    std::fs::write(folder.path().join("config.json"), changed).unwrap();
    let weights = "model.safetensors";
    std::fs::copy(assets.join(weights), folder.path().join(weights)).unwrap();
    let model = LoadedModel::open(folder.path()).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/references/tiny-bert.safetensors");
    let reference = Reference::open(file).unwrap();
    let found = verify(model.model(), &reference, &options(&[])).unwrap();
    let first = found.first_divergence().unwrap();
    assert_eq!(
        (first.name.as_str(), first.layer),
        ("hidden_states.1", Some(0))
    );
    let mut before = found.comparisons.iter().take_while(|c| c.agrees);
    assert_eq!(before.next().unwrap().name, "hidden_states.0");
    assert_eq!(before.next().unwrap().name, "attentions.0");
}

/// The values of texts do not change when their padding moves to the left and their positions go with
/// them; the places in the file do.
#[test]
fn padding_on_the_left_moves_every_place() {
    let file = File::golden("gpt2-lm").plain("ones.");
    let kept = file.ids("attention_mask");
    let lengths: Vec<usize> = kept
        .chunks_exact(8)
        .map(|row| row.iter().filter(|m| **m == 1).count())
        .collect();
    let from = |b: usize, s: usize| (s + lengths[b]) % 8;
    let mut moved = file.clone();
    for name in ["input_ids", "attention_mask", "targets"] {
        let values = file.ids(name);
        let values: Vec<i64> = (0..32)
            .map(|i| values[i / 8 * 8 + from(i / 8, i % 8)])
            .collect();
        moved = moved.put_ids(name, &[4, 8], &values);
    }
    let positions: Vec<i64> = (0..32).map(|i| from(i / 8, i % 8) as i64).collect();
    moved = moved.put_ids("position_ids", &[4, 8], &positions);
    for (name, (_, shape, _)) in &file.tensors {
        let values = file.floats(name);
        let axes: Vec<usize> = (1..shape.len()).filter(|axis| shape[*axis] == 8).collect();
        let source = |index: usize| {
            let (mut rest, mut source, mut stride) = (index, 0, 1);
            let b = index / shape.iter().skip(1).product::<usize>();
            for axis in (0..shape.len()).rev() {
                let (n, at) = (shape[axis], rest % shape[axis]);
                rest /= n;
                source += stride
                    * if axes.contains(&axis) {
                        from(b, at)
                    } else {
                        at
                    };
                stride *= n;
            }
            source
        };
        if !["input_ids", "attention_mask", "targets", "labels"].contains(&name.as_str()) {
            let values: Vec<f32> = (0..values.len()).map(|i| values[source(i)]).collect();
            moved = moved.put(name, shape, &values);
        }
    }
    agrees(&moved.verify("gpt2-lm", &[]).unwrap());
    // The second text has five tokens, at 3 to 7.
    let wrong = moved.plant("attention_probs.1", &[1, 0, 6, 4], |p| p + 0.1);
    let found = wrong.verify("gpt2-lm", &[]).unwrap();
    let place = found.first_divergence().unwrap().worst.place;
    assert_eq!((place.position, place.key), (Some(6), Some(4)));
}

#[test]
fn a_model_that_gives_no_numbers_does_not_agree() {
    let (folder, source) = (tempfile::tempdir().unwrap(), golden("bert-absolute"));
    let weights = File::read(&source.join("model.safetensors"));
    let broken = weights.map("classifier.bias", |_| f32::NAN);
    broken.write(&folder.path().join("model.safetensors"));
    std::fs::copy(
        source.join("config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    let model = LoadedModel::open(folder.path()).unwrap();
    let reference = File::golden("bert-absolute").plain("ones.").reference();
    let found = verify(model.model(), &reference, &options(&[])).unwrap();
    let first = found.first_divergence().unwrap();
    assert_eq!(first.name, "logits");
    assert!(first.worst.absolute.is_infinite() && first.worst.ours.is_nan());
}

/// The whole of a group, which is then found at the place where it is wrong.
#[test]
fn a_wrong_value_is_found_where_it_is() {
    let file = File::golden("gpt2-lm").plain("ones.");
    let off = |v: f32| v + 0.01;
    let look = |name: &str, at: &[usize]| {
        let found = file
            .clone()
            .plant(name, at, off)
            .verify("gpt2-lm", &[])
            .unwrap();
        let wrong: Vec<&str> = found
            .comparisons
            .iter()
            .filter(|c| !c.agrees)
            .map(|c| c.name.as_str())
            .collect();
        assert_eq!(wrong, [name]);
        let first = found.first_divergence().unwrap().clone();
        assert!((first.worst.absolute - 0.01).abs() < 1e-4, "{first:?}");
        assert!((first.worst.theirs - first.worst.ours - 0.01).abs() < 1e-4);
        let relative = first.worst.absolute / first.scale;
        assert!((first.worst.relative - relative).abs() < 1e-12);
        first
    };
    let first = look("hidden_states.2", &[1, 4, 7]);
    assert_eq!(first.layer, Some(1));
    let place = first.worst.place;
    assert_eq!((place.sequence, place.position), (Some(1), Some(4)));
    assert_eq!((place.column, place.head, place.key), (Some(7), None, None));

    let first = look("attention_probs.1", &[2, 3, 5, 1]);
    let place = first.worst.place;
    assert_eq!((place.sequence, place.head), (Some(2), Some(3)));
    assert_eq!(
        (place.position, place.key, place.column),
        (Some(5), Some(1), None)
    );
    for head in &first.heads {
        let wrong = head.worst.absolute > 0.009;
        assert_eq!(wrong, head.head == 3, "{head:?}");
        assert_eq!(head.layer, 1);
    }
    // What a causal model must not see is compared with 0.
    look("attention_probs.0", &[0, 0, 2, 6]);
    look("head_output.0", &[3, 1, 2, 5]);
    look("logits", &[0, 7, 59]);
    look("loss", &[3]);
    look("last_residual", &[0, 0, 0]);
    look("grad.value.2", &[1, 1, 1, 1]);
    let first = look("mask_grad", &[1, 2, 3]);
    let place = first.worst.place;
    assert_eq!(
        (place.sequence, place.layer, place.head),
        (Some(1), Some(2), Some(3))
    );
}

#[test]
fn the_first_divergence_is_the_first_of_the_computation() {
    let file = File::golden("gpt2-lm").plain("ones.");
    let scaled = |v: f32| v * 1.01;
    let order = [
        "hidden_states.0",
        "query.0",
        "attention_probs.0",
        "mlp_output.0",
        "hidden_states.1",
        "key.1",
        "last_residual",
        "hidden_states.3",
        "logits",
        "loss",
        "grad.logits",
        "grad.hidden_states.3",
        "grad.last_residual",
        "grad.head_output.2",
        "grad.attention_scores.2",
        "grad.query.2",
        "grad.mlp_output.0",
        "grad.hidden_states.0",
        "mask_grad",
    ];
    for start in 0..order.len() {
        let mut wrong = file.clone();
        for name in order[start..].iter().rev() {
            wrong = wrong.map(name, scaled);
        }
        let found = wrong.verify("gpt2-lm", &[]).unwrap();
        assert_eq!(found.first_divergence().unwrap().name, order[start]);
        let count = found.comparisons.iter().filter(|c| !c.agrees).count();
        assert_eq!(count, order.len() - start);
    }
}

/// Names, loss and gradients as `model(**inputs)` of transformers gives them: the loss is the mean
/// over all tokens of the batch, so that a sequence's gradients have the weight of its tokens.
#[test]
fn the_mean_loss_of_a_batch_weighs_sequences_by_their_tokens() {
    let file = File::golden("gpt2-lm").plain("ones.");
    let targets = file.ids("targets");
    let counts: Vec<usize> = targets
        .chunks_exact(8)
        .map(|row| row.iter().filter(|t| **t != -100).count())
        .collect();
    assert!(counts.iter().any(|n| *n != counts[0]), "{counts:?}");
    let all: usize = counts.iter().sum();
    let share = |b: usize| counts[b] as f32 / all as f32;
    let losses = file.floats("loss");
    let mean = (0..4).map(|b| share(b) * losses[b]).sum::<f32>();
    let gradient = file.floats("mask_grad");
    let mut summed = vec![0.0; 12];
    for (b, row) in gradient.chunks_exact(12).enumerate() {
        for (sum, g) in summed.iter_mut().zip(row) {
            *sum += share(b) * g;
        }
    }
    let mut mean_file = file
        .clone()
        .without("targets")
        .put("loss", &[], &[mean])
        .put("grad.head_mask", &[3, 4], &summed);
    let names: Vec<String> = file.tensors.keys().cloned().collect();
    for name in names.iter().filter(|n| n.starts_with("grad.")) {
        let shape = file.tensors[name].1.clone();
        let values = file.floats(name);
        let size = values.len() / 4;
        let weighed = values
            .iter()
            .enumerate()
            .map(|(i, g)| g * share(i / size))
            .collect::<Vec<_>>();
        mean_file = mean_file.put(name, &shape, &weighed);
    }
    let found = mean_file.verify("gpt2-lm", &[]).unwrap();
    agrees(&found);
    assert!(found.inputs.contains(&"labels".to_owned()), "shifted here");
    // The same gradients are wrong for a loss of the other kind.
    let loss = file.tensors["loss"].clone();
    mean_file.tensors.insert("loss".into(), loss);
    let found = mean_file.verify("gpt2-lm", &[]).unwrap();
    assert_eq!(found.first_divergence().unwrap().name, "grad.logits");
}

/// transformers returns attention after the head mask.
#[test]
fn attentions_are_those_after_the_head_mask() {
    let file = File::golden("bert-absolute").plain("some.");
    let mask = file.floats("head_mask");
    assert!(mask.contains(&0.5) && mask.contains(&0.0));
    let mut masked = file.clone();
    for layer in 0..3 {
        let name = format!("attention_probs.{layer}");
        let values = file.floats(&name);
        let shape = file.tensors[&name].1.clone();
        let values: Vec<f32> = values
            .iter()
            .enumerate()
            .map(|(i, p)| p * mask[layer * 4 + i / 64 % 4])
            .collect();
        masked = masked
            .without(&name)
            .put(&format!("attentions.{layer}"), &shape, &values);
    }
    agrees(&masked.verify("bert-absolute", &[]).unwrap());
    let without = masked.without("head_mask").without("mask_grad");
    let found = without.verify("bert-absolute", &[]).unwrap();
    let first = found.first_divergence().unwrap();
    assert!(first.name.starts_with("attentions."), "{}", first.name);
    let wrong = first.heads.iter().find(|h| h.worst.absolute > 0.1).unwrap();
    let id = HeadId {
        layer: wrong.layer,
        head: wrong.head,
    };
    assert!(mask[id.layer * 4 + id.head] < 1.0, "{id}");
}

#[test]
fn padding_is_not_looked_at() {
    let file = File::golden("bert-absolute").plain("ones.");
    // The second text has five tokens.
    let file = file
        .plant("hidden_states.1", &[1, 5, 0], |_| f32::NAN)
        .plant("attention_probs.0", &[1, 0, 0, 5], |_| 9.0)
        .plant("attention_probs.0", &[1, 0, 7, 0], |_| 9.0);
    let found = file.verify("bert-absolute", &[]).unwrap();
    agrees(&found);
    assert_eq!(found.padding, 8);
    let found = file.plant("attention_probs.0", &[1, 0, 4, 4], |p| p + 0.1);
    assert!(!found.verify("bert-absolute", &[]).unwrap().agrees());
}

#[test]
fn references_that_prove_nothing_are_refused() {
    let folder = "bert-absolute";
    let file = File::golden(folder).plain("ones.");
    let nan = file
        .clone()
        .plant("hidden_states.1", &[1, 4, 3], |_| f32::NAN);
    let parts = ["hidden_states.1", "sequence 1, position 4, column 3"];
    let error = nan.refused(folder, &[], &parts);
    assert!(
        matches!(error, ReferenceError::NotFinite { .. }),
        "{error:?}"
    );
    for name in [
        "hidden_states.2",
        "attention_probs.1",
        "logits",
        "grad.query.0",
        "mask_grad",
    ] {
        let error = file
            .clone()
            .map(name, |_| 0.0)
            .refused(folder, &[], &[name]);
        assert!(matches!(error, ReferenceError::AllZero { .. }), "{error:?}");
    }
    let all = File::golden(folder);
    let parts = ["nothing was compared", "ones., some.", "prefix"];
    all.refused(folder, &[], &["layer_off.", parts[0], parts[2]]);
    all.refused(folder, &["absent"], &["begins with absent."]);
    let mut inputs = file.clone();
    inputs
        .tensors
        .retain(|name, _| name == "input_ids" || name == "labels");
    inputs.refused(folder, &[], &["only inputs"]);
}

#[test]
fn what_cannot_be_understood_is_refused_with_advice() {
    let folder = "bert-absolute";
    let file = File::golden(folder).plain("ones.");
    let copy = || file.clone();
    let unknown = copy().rename("query.0", "querry.0").rename("key.0", "k");
    unknown.refused(folder, &[], &["k, querry.0", "query.N"]);
    let beyond = copy().rename("hidden_states.3", "hidden_states.4");
    beyond.refused(
        folder,
        &[],
        &["hidden_states.4", "3 layers", "last number possible is 3"],
    );
    copy()
        .without("input_ids")
        .refused(folder, &[], &["no input_ids"]);
    copy()
        .without("labels")
        .refused(folder, &[], &["no labels"]);
    let flat = copy().put("logits", &[12], &[1.0; 12]);
    flat.refused(
        folder,
        &[],
        &["[12]", "[4, 3]", "AutoModelForSequenceClassification"],
    );
    let words = copy().put("prediction_logits", &[4, 8, 60], &[1.0; 1920]);
    words.refused(
        folder,
        &[],
        &["prediction_logits", "a single-label classifier"],
    );
    let heads = copy().put("attentions.0", &[4, 3, 8, 8], &[1.0; 768]);
    heads.refused(folder, &[], &["attentions.0", "[4, 4, 8, 8]"]);
    let mut half = copy();
    let parts = (Dtype::BF16, vec![4, 3], vec![0; 24]);
    half.tensors.insert("logits".into(), parts);
    half.refused(folder, &[], &["logits", "BF16", "float32"]);
    let mut mask = vec![1; 32];
    mask[8..16].fill(0);
    let empty = copy().put_ids("attention_mask", &[4, 8], &mask);
    empty.refused(folder, &[], &["sequence 1", "every position is padding"]);
    // A classifier reads the first position.
    mask[8..16].copy_from_slice(&[0, 0, 0, 1, 1, 1, 1, 1]);
    let left = copy().put_ids("attention_mask", &[4, 8], &mask);
    left.refused(folder, &[], &["sequence 1", "position 0", "on the right"]);
    // The label of the first token is for the logits of the padding before it.
    let lm = File::golden("gpt2-lm").plain("left.").without("targets");
    agrees(&lm.verify("gpt2-lm", &[]).unwrap());
    let mut labels = lm.ids("labels");
    let ids = lm.ids("input_ids");
    labels[8 + 3] = ids[8 + 3];
    let counted = lm.put_ids("labels", &[4, 8], &labels);
    counted.refused("gpt2-lm", &[], &["sequence 1", "position 3", "-100"]);
    let bare = File::golden("bert-bare").plain("ones.");
    let loss = bare
        .put("loss", &[], &[1.0])
        .put_ids("labels", &[4], &[0; 4]);
    loss.refused("bert-bare", &[], &["loss", "no task head"]);
}

/// A full-sized reference for a pruned model, and the other way round.
#[test]
fn pruned_models_need_a_reference_of_the_same_heads() {
    let gone = [(0, 0), (0, 2), (2, 1), (2, 2), (2, 3)];
    let file = File::golden("bert-absolute").plain("ones.");
    let model = LoadedModel::open(golden("bert-absolute")).unwrap();
    let heads = gone.map(|(layer, head)| HeadId { layer, head });
    let pruned = model.without_heads(heads).unwrap();
    let refused = verify(pruned.model(), &file.reference(), &options(&[])).unwrap_err();
    let message = refused.to_string();
    for part in ["L0H0 is pruned away", "head_mask"] {
        assert!(message.contains(part), "{message}");
    }
    // What is masked there and gone here is the same function.
    let file = File::golden("bert-absolute").plain("some.");
    let masked: Vec<HeadId> = file
        .floats("head_mask")
        .iter()
        .enumerate()
        .filter(|(_, factor)| **factor == 0.0)
        .map(|(i, _)| HeadId {
            layer: i / 4,
            head: i % 4,
        })
        .collect();
    assert!(!masked.is_empty());
    let pruned = model.without_heads(masked.iter().copied()).unwrap();
    let found = verify(pruned.model(), &file.reference(), &options(&[])).unwrap();
    agrees(&found);
    let left_out: u64 = found.comparisons.iter().map(|c| c.left_out).sum();
    assert!(left_out > 0);
}

/// The other storage type, the other precision.
#[test]
fn double_precision_can_be_verified() {
    use bertology::model::Model;
    let folder = golden("bert-absolute");
    let loaded = LoadedModel::open(&folder).unwrap();
    let model = Model::<f64>::from_checkpoint(loaded.checkpoint()).unwrap();
    let reference = Reference::open(folder.join("golden.safetensors")).unwrap();
    agrees(&verify(&model, &reference, &options(&["ones."])).unwrap());
}

#[test]
fn tolerances_are_obeyed() {
    let file = File::golden("bert-absolute").plain("ones.");
    let model = LoadedModel::open(golden("bert-absolute")).unwrap();
    let mut options = options(&[]);
    options.tolerances.values = 1e-12;
    let found = verify(model.model(), &file.reference(), &options).unwrap();
    assert!(!found.agrees());
    for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        options.tolerances.values = nonsense;
        assert!(verify(model.model(), &file.reference(), &options).is_err());
    }
    options.tolerances.values = 0.5;
    let wrong = file.plant("hidden_states.1", &[0, 0, 0], |v| v + 0.01);
    agrees(&verify(model.model(), &wrong.reference(), &options).unwrap());
}

/// The forms in which a layer without heads is written, against the whole model under the mask.
#[test]
fn heads_of_zeros_are_heads_that_are_gone() {
    use bertology::checkpoint::{Export, HeadSet, WriteOptions, write_pruned};
    for name in ["bert-absolute", "gpt2-lm", "roberta"] {
        let file = File::golden(name).plain("layer_off.");
        let whole = LoadedModel::open(golden(name)).unwrap();
        let heads = whole.architecture().num_heads;
        let mask = file.floats("head_mask");
        let masked: HeadSet = (0..mask.len())
            .filter(|at| mask[*at] == 0.0)
            .map(|at| (at / heads, at % heads))
            .collect();
        let empty = |layer: &usize| (0..heads).all(|head| masked.contains(*layer, head));
        let layer = (0..mask.len() / heads).find(empty).unwrap();
        for export in [Export::Pruned, Export::Zeroed] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model");
            let options_of = WriteOptions::new(export);
            write_pruned(whole.checkpoint(), &masked, &path, &options_of).unwrap();
            let model = LoadedModel::open(&path).unwrap();
            let expected = whole.architecture().num_layers * heads - masked.len();
            assert_eq!(model.model().heads().count(), expected, "{name} {export:?}");
            let found = verify(model.model(), &file.reference(), &options(&[]))
                .unwrap_or_else(|e| panic!("{name} {export:?}: {e}"));
            agrees(&found);
            let of_layer =
                |c: &&bertology::verify::Comparison| c.name == format!("attentions.{layer}");
            if let Some(attention) = found.comparisons.iter().find(of_layer) {
                assert!(attention.compared == 0 && attention.left_out > 0);
            }
        }
    }
}
