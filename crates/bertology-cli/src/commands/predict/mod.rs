//! `bertology predict`: what a classifier says of texts.

mod args;

use bertology::drive::Study as _;
use bertology::evaluate::MaskedModel;
use bertology::predict::{Answer, PredictOptions, PredictState, Prediction, Predictions, Unlabelled};
use bertology::{HeadMask, OpenAs};
use bertology_run::studies::predict::{PredictResults, Said, SaidWord};
use serde_json::json;

use super::extract;
use crate::args::{SourceArgs, TooLongArg};
use crate::assumptions;
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::failure::Failure;
use crate::record::{self, Run};
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::escape::name;
use crate::show::text::{count, plural, seconds};
use crate::study;
use crate::told::Rows;

pub(crate) use args::{ABOUT, PredictArgs};

/// Predictions that are shown, and characters of their texts.
const SHOWN: usize = 20;
const WIDTH: usize = 48;

/// What is opened besides the model.
pub(crate) struct Input {
    texts: Unlabelled,
    mask: Option<HeadMask>,
    model: MaskedModel,
    classes: Vec<String>,
}

impl StudyCommand for PredictArgs {
    const NAME: &'static str = "predict";
    const LAP: &'static str = "prediction";

    type Input = Input;
    type Supply = Unlabelled;
    type Study = PredictState;

    fn prepare(&mut self, _: &Screen) -> Result<(), Failure> {
        self.model.give_back(&mut self.input.texts);
        self.input.sequence.default_too_long(TooLongArg::Cut);
        refuse_labels(&self.input.source)
    }

    fn open_as(&self) -> OpenAs {
        OpenAs::Declared
    }

    fn open(&self, opened: &Opened, screen: &Screen) -> Result<Input, Failure> {
        let mut options = PredictOptions::default();
        options.max_length = self.input.sequence.max_length();
        options.too_long = self.input.sequence.too_long().unwrap_or(options.too_long);
        options.bos = self.input.sequence.bos;
        self.input.sequence.refuse_stride_of_answers()?;
        // Before any text is read: a model without answers is refused for that alone.
        Answer::of(&opened.model).map_err(|e| failure(&e))?;
        let texts = extract::texts(&self.input, screen)?;
        let texts = Unlabelled::new(&opened.model, texts, &options).map_err(|e| failure(&e))?;
        let mask = study::chosen_mask(opened, self.own.mask.as_deref(), &self.own.heads)?;
        let model = MaskedModel::new(&opened.model, mask.as_ref(), false);
        let model = model.map_err(|e| failure(&e))?;
        Ok(Input {
            classes: PredictState::new(&model, &texts).classes().to_vec(),
            texts,
            mask,
            model,
        })
    }

    fn identity(&self, input: &Input, run: &mut Run) {
        run.set_data(
            match input.texts.info() {
                Some(info) => Some(info.sha256.clone()),
                None => extract::hash_of(&self.input.texts),
            },
            json!({ "file": input.texts.info(), "max_length": input.texts.max_length() }),
        );
        // A mask of --heads is named by that option.
        if self.own.mask.is_some() {
            run.set_mask(input.mask.as_ref());
        }
    }

    fn stages<'a>(
        &self,
        _: &'a Opened,
        input: &'a Input,
        _: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure> {
        let state = PredictState::new(&input.model, &input.texts);
        Ok(vec![Stage::new(input.model.model(), &input.texts, state)])
    }

    fn unit(&self, _: &Input) -> &'static str {
        "text"
    }

    fn told(&self, input: &Input) -> Option<Rows> {
        Some(Rows::Predictions(input.texts.answer(), input.classes.clone()))
    }

    fn headline(&self, opened: &Opened, input: &Input) -> Result<String, Failure> {
        let (layers, heads) = opened.shape();
        let classes = match input.classes.len() {
            1 => "1 class".to_owned(),
            several => format!("{several} classes"),
        };
        let says = match input.texts.answer() {
            Answer::Class | Answer::Labels => classes,
            Answer::Words => format!("{classes} of words"),
            Answer::Value => "a regression".into(),
        };
        Ok(format!(
            "{}: {layers} layers of {heads} heads, {says}",
            name(&opened.located.name)
        ))
    }

    fn notes(&self, input: &Input, screen: &Screen) {
        if let Some(info) = input.texts.info() {
            assumptions::say_header(info, screen);
            study::note_skipped_lines(info, screen);
        }
    }

    fn results(
        &self,
        ended: &mut Ended<'_>,
        input: &Input,
        studies: Vec<PredictState>,
    ) -> Result<Shown, Failure> {
        let found = super::only(studies)?.finish().map_err(|e| failure(&e))?;
        if let (Some(folder), Some(mask)) = (ended.folder, &input.mask) {
            crate::tables::write_mask(folder, mask)?;
        }
        let model = ended.opened.model.model();
        let masked = input.mask.as_ref().map(|mask| {
            let heads = mask.masked().filter(|id| model.has_head(*id));
            heads.map(|id| id.to_string()).collect::<Vec<_>>()
        });
        let mut text = String::new();
        if let Some(masked) = &masked {
            let all = plural(model.heads().count() as u64, "head");
            text = format!("{} of {all} masked\n", masked.len());
        }
        text.push_str(&format!(
            "\n{}\n{}\n{}",
            table(&found, &self.input.texts, ended.folder.is_some()),
            account(&found, input.texts.max_length()),
            seconds(ended.time)
        ));
        Ok(Shown {
            results: json!(results(&found, masked)),
            text,
        })
    }
}

/// Labels are asked for by name, and what they would be compared with is another command's.
fn refuse_labels(source: &SourceArgs) -> Result<(), Failure> {
    let given = [
        (source.label_column.is_some(), "--label-column"),
        (!source.label_order.is_empty(), "--label-order"),
        (source.swapped_mnli_labels, "--swapped-mnli-labels"),
    ];
    match given.iter().find(|(given, _)| *given) {
        None => Ok(()),
        Some((_, option)) => Err(Failure::input(format!(
            "{option} is about labels in the data, which are not read here; leave it out, or compare with them by \
             `bertology evaluate`"
        ))),
    }
}

fn results(found: &Predictions, masked_heads: Option<Vec<String>>) -> PredictResults {
    let names = || found.classes.iter().map(String::as_str);
    let given = names().zip(found.given.iter().copied());
    PredictResults {
        answer: record::name_of(&found.answer),
        classes: found.classes.clone(),
        counts: Some(record::texts(&found.counts)),
        rows: found.predictions,
        given: match found.answer {
            Answer::Value => Default::default(),
            _ => given.collect(),
        },
        masked_heads,
        predictions: found.first.iter().map(|of| said(found, of)).collect(),
    }
}

fn said(found: &Predictions, of: &Prediction) -> Said {
    let names = || found.classes.iter().map(String::as_str);
    Said {
        index: of.index,
        line: of.line,
        word: of.word.map(|word| SaidWord {
            text: u64::from(word.text),
            number: u64::from(word.number),
            start: word.start as u64,
            end: word.end as u64,
        }),
        labels: of.classes.iter().map(|class| found.classes[*class].clone()).collect(),
        probabilities: names().zip(of.probabilities.iter().copied()).collect(),
        logits: names().zip(of.logits.iter().copied().map(crate::told::as_written)).collect(),
    }
}

/// The first predictions, and how often each class was given.
fn table(found: &Predictions, texts: &[String], written: bool) -> String {
    let mut lines: Vec<String> = found
        .first
        .iter()
        .take(SHOWN)
        .map(|of| line(found, of, texts))
        .collect();
    let more = found.predictions.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(match written {
            true => format!("… and {} more in predictions.csv", count(more)),
            false => format!("… and {} more; --output DIR writes all", count(more)),
        });
    }
    if found.answer != Answer::Value {
        let given = found.classes.iter().zip(&found.given);
        let given: Vec<String> = given
            .map(|(class, number)| format!("{} {}", name(class), count(*number)))
            .collect();
        lines.push(format!("\n{}", given.join("  ")));
    }
    lines.join("\n")
}

fn line(found: &Predictions, of: &Prediction, texts: &[String]) -> String {
    let place = match of.word {
        None => format!("{:>6}", of.line),
        Some(word) => format!("{:>6}.{:<3}", of.line, word.number),
    };
    let says = match found.answer {
        Answer::Value => {
            let values: Vec<String> = of.logits.iter().map(|value| format!("{value:.4}")).collect();
            values.join("  ")
        }
        Answer::Labels => {
            let all = found.classes.iter().zip(&of.probabilities);
            let all = all.map(|(class, p)| format!("{} {p:.4}", name(class)));
            all.collect::<Vec<_>>().join("  ")
        }
        _ => {
            let class = of.classes.first().copied().unwrap_or_default();
            let label = found.classes.get(class).map_or("", String::as_str);
            let p = of.probabilities.get(class).copied().unwrap_or(f64::NAN);
            format!("{:<16}  {p:.4}", name(label))
        }
    };
    // Texts of the command line are at hand; a pair has its second text in a file.
    let text = usize::try_from(of.index).ok().and_then(|at| texts.get(at));
    match text {
        None => format!("{place}  {says}"),
        Some(text) => {
            let (start, end) = of.word.map_or((0, usize::MAX), |word| (word.start, word.end));
            let part: String = text.chars().take(end).skip(start).collect();
            format!("{place}  {says}  {}", brief(&part))
        }
    }
}

/// The beginning of a text, on one line.
fn brief(text: &str) -> String {
    let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = flat.chars().take(WIDTH).collect();
    let short = name(&short).into_owned();
    if flat.chars().count() > WIDTH {
        format!("{short}…")
    } else {
        short
    }
}

fn account(found: &Predictions, longest: usize) -> String {
    let counts = &found.counts;
    let mut text = format!(
        "{}, {}, {}",
        plural(counts.sequences, "text"),
        plural(counts.tokens, "token"),
        match counts.cut {
            0 => "none cut".into(),
            cut => format!(
                "{} cut to {longest} tokens ({} lost)",
                count(cut),
                plural(counts.tokens_cut, "token")
            ),
        }
    );
    for (number, why) in [
        (counts.too_long, "too long"),
        (counts.empty, "without a token"),
    ] {
        if number > 0 {
            text.push_str(&format!("; {} left out, {why}", plural(number, "text")));
        }
    }
    text
}
