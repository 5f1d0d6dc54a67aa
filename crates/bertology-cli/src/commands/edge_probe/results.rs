//! From what came out to rows, results and an array.

use bertology::data::{Cells, Slice};
use bertology_run::studies::edge::{
    EdgeExampleRow, EdgeGroup, EdgeLabelRow, EdgeLayerRow, EdgeOrder, EdgeQuantity, EdgeResults,
    EdgeScoreRow, EdgeStratumRow, EdgeTask, EdgeWeightRow,
};
use bertology_train::edge::chance::{Estimate, Order, over_seeds, standard_error};
use bertology_train::edge::experiment::{Drawn, Outcome, TaskOutcome, curves, mean_expected_layer};
use bertology_train::edge::strata::By;
use bertology_train::edge::summary::{
    center_of_gravity, clipped_layer, expected_layer, gain_divergence, has_gain, mean_curve,
    norm_corrected, running_layer, uniform_divergence,
};
use bertology_train::edge::{DIFFERENCES, Reading, Scored, Stop, f1};
use serde_json::{Value, json};

/// All that is written of a task besides its results.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) layers: Vec<EdgeLayerRow>,
    pub(super) scores: Vec<EdgeScoreRow>,
    pub(super) labels: Vec<EdgeLabelRow>,
    pub(super) strata: Vec<EdgeStratumRow>,
    pub(super) weights: Vec<EdgeWeightRow>,
}

pub(super) fn results(found: &Outcome, probe: Value, resamples: usize) -> EdgeResults {
    let tasks: Vec<EdgeTask> = found.tasks.iter().map(|t| task(t, resamples)).collect();
    // Tasks without a mean layer cannot be ordered by it.
    let sound = |at: &usize| tasks[*at].guard.is_none();
    let mut order = Vec::new();
    for first in (0..tasks.len()).filter(sound) {
        for second in (first + 1..tasks.len()).filter(sound) {
            order.extend(compared(found, first, second, resamples));
        }
    }
    EdgeResults {
        probe,
        tasks,
        order,
        cache: json!({
            "sequences": found.sequences,
            "pieces": found.pieces,
            "bytes": found.state_bytes,
        }),
    }
}

/// What the probes are, for the record; the profile with what it differs in from the other.
pub(super) fn probe(outcome: &Outcome, standardized: bool, causal: bool) -> Value {
    let settings = outcome.tasks.first().map(|task| task.settings);
    json!({
        "settings": settings,
        "standardized": standardized,
        "causal": causal,
        "profiles": DIFFERENCES.map(|[what, fast, paper]| json!({"what": what, "fast": fast, "paper": paper})),
    })
}

fn compared(found: &Outcome, first: usize, second: usize, resamples: usize) -> Option<EdgeOrder> {
    let both = [first, second].map(|at| &found.tasks[at]);
    // Of the second less the first, so that a positive number says that the first comes first.
    let difference = found.compare(second, first, resamples)?;
    let seeds = difference.over_seeds;
    let sentences = difference.over_sentences.interval;
    let pairs = found.precedence(first, second);
    Some(EdgeOrder {
        first: both[0].name.clone(),
        second: both[1].name.clone(),
        difference: EdgeQuantity {
            value: Some(seeds.value),
            low: seeds.interval.map(|[low, _]| low),
            high: seeds.interval.map(|[_, high]| high),
            bootstrap_low: sentences.map(|[low, _]| low),
            bootstrap_high: sentences.map(|[_, high]| high),
        },
        ordered: difference.order != Order::Undecided,
        first_earlier: pairs.map(|pairs| pairs[0]),
        second_earlier: pairs.map(|pairs| pairs[1]),
        at_once: pairs.map(|pairs| pairs[2]),
    })
}

fn layers(task: &TaskOutcome) -> usize {
    task.given.first().map_or(0, Vec::len)
}

fn cumulative(task: &TaskOutcome) -> bool {
    let first = task.given.first().and_then(|probes| probes.first());
    first.is_some_and(|probe| matches!(probe.course.reading, Reading::Mix(_)))
}

/// Mean and interval over seeds, if there is a value of every seed.
fn quantity(values: Option<Vec<f64>>) -> EdgeQuantity {
    match values {
        Some(values) if !values.is_empty() => of(over_seeds(&values)),
        _ => EdgeQuantity::default(),
    }
}

fn of(estimate: Estimate) -> EdgeQuantity {
    EdgeQuantity {
        value: Some(estimate.value),
        low: estimate.interval.map(|[low, _]| low),
        high: estimate.interval.map(|[_, high]| high),
        ..EdgeQuantity::default()
    }
}

fn with_sentences(quantity: EdgeQuantity, sentences: Option<Estimate>) -> EdgeQuantity {
    let interval = sentences.and_then(|estimate| estimate.interval);
    EdgeQuantity {
        bootstrap_low: interval.map(|[low, _]| low),
        bootstrap_high: interval.map(|[_, high]| high),
        ..quantity
    }
}

/// Mixing weights of the probes that read all layers, `[seed][layer]`.
fn weights(task: &TaskOutcome) -> Option<Vec<Vec<f64>>> {
    let of = |probes: &Vec<Scored>| {
        let (weights, _) = probes.last()?.mixing.as_ref()?;
        Some(weights.iter().map(|weight| f64::from(*weight)).collect())
    };
    task.given.iter().map(of).collect()
}

/// Why there is no mean layer by gain.
fn guard(task: &TaskOutcome) -> Option<String> {
    if !cumulative(task) {
        return Some("probes of single layers have no gains from layer to layer".into());
    }
    if !task.converged() {
        return Some("not converged, so that there is no summary; give more --epochs".into());
    }
    let curves = curves(&task.given);
    if mean_curve(&curves)
        .last()
        .is_some_and(|top| *top <= task.majority)
    {
        return Some(
            "nothing was learnt: the score of all layers is not above that of the most frequent label, so that there is no \
             summary; give more records or a larger --hidden"
                .into(),
        );
    }
    let gains: Vec<f64> = curves
        .iter()
        .filter_map(|curve| Some(curve.last()? - curve.first()?))
        .collect();
    // Of one seed, from sentences drawn again.
    let of_sentences = || {
        let gain = |curves: &[Vec<f64>]| {
            let curve = curves.first()?;
            Some(curve.last()? - curve.first()?)
        };
        let [low, high] = task.over_sentences(200, gain)?.interval?;
        Some((high - low) / (2.0 * 1.96))
    };
    let error = standard_error(&gains).or_else(of_sentences).unwrap_or(0.0);
    (!has_gain(&mean_curve(&curves), error)).then(|| {
        "no contextual gain: the score of all layers is not three standard errors above that of layer 0".into()
    })
}

fn task(task: &TaskOutcome, resamples: usize) -> EdgeTask {
    let curves = curves(&task.given);
    let all = |statistic: &dyn Fn(&[f64]) -> Option<f64>| -> Option<Vec<f64>> {
        curves.iter().map(|curve| statistic(curve)).collect()
    };
    let guard = guard(task);
    let sound = guard.is_none();
    let weights = weights(task).filter(|_| task.converged() && cumulative(task));
    let of_weights = |statistic: &dyn Fn(&[f64]) -> f64| {
        let weights = weights.as_ref();
        weights.map(|seeds| seeds.iter().map(|s| statistic(s)).collect::<Vec<f64>>())
    };
    let top = |probes: &Vec<Scored>| probes.last().map(Scored::f1);
    let files = task.files.iter().map(|file| {
        let gathered = &file.gathered;
        let read = json!({
            "path": gathered.info.path,
            "read": gathered.info.counts,
            "aligned": gathered.counts,
            "targets": gathered.targets(),
            "dropped_by_label": gathered.dropped.iter().collect::<std::collections::BTreeMap<_, _>>(),
        });
        (file.role.to_owned(), read)
    });
    let expected = quantity(all(&expected_layer).filter(|_| sound));
    let redrawn = sound.then(|| task.over_sentences(resamples, mean_expected_layer));
    EdgeTask {
        name: task.name.clone(),
        judged_by: judged(&task.slice),
        labels: task.vocabulary.len() as u64,
        spans: task.split().roles() as u64,
        splits: Value::Object(files.collect()),
        scored_on: task.scored_on.into(),
        unseen_labels: task.unseen(),
        sentences: task.split().sentences() as u64,
        targets: task.split().targets() as u64,
        targets_sha256: task.targets_sha256(),
        majority: Some(task.majority),
        type_majority: Some(task.type_majority),
        word_only: (!task.words.is_empty())
            .then(|| quantity(Some(task.words.iter().map(Scored::f1).collect()))),
        word_bag: (!task.bag.is_empty())
            .then(|| quantity(Some(task.bag.iter().map(Scored::f1).collect()))),
        groups: task.others.iter().map(|of| group(task, of)).collect(),
        bottom: quantity(all(&|curve| curve.first().copied())),
        top: quantity(all(&|curve| curve.last().copied())),
        centre_of_gravity: quantity(of_weights(&center_of_gravity)),
        centre_of_gravity_by_norm: quantity(of_weights(&|weights| {
            center_of_gravity(&norm_corrected(weights, &task.norms))
        })),
        expected_layer: with_sentences(expected, redrawn.flatten()),
        expected_layer_clipped: quantity(all(&clipped_layer).filter(|_| sound)),
        expected_layer_running: quantity(all(&running_layer).filter(|_| sound)),
        weight_divergence: quantity(of_weights(&uniform_divergence)),
        gain_divergence: quantity(all(&gain_divergence).filter(|_| sound)),
        guard,
        converged: task.converged(),
        stable_from: task.traces.stable_layers(),
        random_encoder: (!task.untrained.is_empty())
            .then(|| quantity(task.untrained.iter().map(top).collect())),
        control: json!({
            "seen": task.control.as_ref().map(|drawn| drawn.seen),
            "seen_first": task.control_first.as_ref().map(|drawn| drawn.seen),
        }),
    }
}

/// Decisions of a probe about some labels.
fn within(probe: &Scored, labels: &Slice) -> Cells {
    let own = probe
        .labels
        .iter()
        .filter(|(name, _)| labels.contains(name));
    own.map(|(_, cells)| *cells).sum()
}

fn group(task: &TaskOutcome, labels: &Slice) -> EdgeGroup {
    let of = |layer: Option<usize>| {
        let probes = task.given.iter().filter_map(|probes| probes.get(layer?));
        quantity(Some(
            probes.map(|probe| within(probe, labels).f1()).collect(),
        ))
    };
    let names = task.vocabulary.names().iter();
    let first = task.given.first().and_then(|probes| probes.first());
    EdgeGroup {
        name: judged(labels),
        labels: names.filter(|name| labels.contains(name)).count() as u64,
        support: first.map_or(0, |probe| within(probe, labels).support()),
        bottom: of(Some(0)),
        top: of(layers(task).checked_sub(1)),
    }
}

/// Scores of a layer on a control task: of all targets, and of those whose texts the training data have.
fn drawn(of: Option<&Drawn>, layer: usize) -> [Option<f64>; 2] {
    let Some(probe) = of.and_then(|drawn| drawn.probes.get(layer)) else {
        return [None; 2];
    };
    let known = of.is_some_and(|drawn| drawn.seen > 0.0);
    // Of the others comes before of these.
    let seen = probe.strata.last().filter(|_| known).map(|sums| f1(*sums));
    [Some(probe.f1()), seen]
}

/// Decisions of every sentence, `[seed, layer, sentence, kind]` with the sentences of one task behind those of another.
pub(super) fn decisions(found: &Outcome) -> ([usize; 4], Vec<f32>) {
    let first = found.tasks.first();
    let seeds = first.map_or(0, |task| task.given.len());
    let layers = first.map_or(0, layers);
    let sentences = found.tasks.iter().map(|task| task.split().sentences());
    let sentences: usize = sentences.sum();
    let mut values = Vec::with_capacity(seeds * layers * sentences * 3);
    for (seed, layer) in (0..seeds).flat_map(|seed| (0..layers).map(move |layer| (seed, layer))) {
        for task in &found.tasks {
            let counts = task.given[seed][layer].sentences.iter().flatten();
            // Counts of one sentence, which 24 bits hold.
            values.extend(counts.map(|count| *count as f32));
        }
    }
    ([seeds, layers, sentences, 3], values)
}

/// The labels that a score is of, in words.
pub(super) fn judged(slice: &Slice) -> String {
    match slice {
        Slice::All => "all labels".into(),
        Slice::Coreference => "label 1".into(),
        Slice::Roles => "core and modifier roles".into(),
        Slice::CoreRoles => "core roles".into(),
        Slice::OtherRoles => "modifier roles".into(),
        Slice::Relations => "all but Other".into(),
        Slice::Label(name) => format!("label {name}"),
    }
}

impl Tables {
    pub(super) fn of(found: &Outcome) -> Self {
        let mut tables = Self::default();
        for task in &found.tasks {
            tables.add_layers(task);
            tables.add_scores(task);
            tables.add_labels(task);
            tables.add_strata(task);
            tables.add_weights(task);
        }
        tables
    }

    fn add_layers(&mut self, task: &TaskOutcome) {
        let untrained = curves(&task.untrained);
        let curves = curves(&task.given);
        let column = |curves: &[Vec<f64>], layer: usize| -> EdgeQuantity {
            quantity(
                curves
                    .iter()
                    .map(|curve| curve.get(layer).copied())
                    .collect(),
            )
        };
        let weights = weights(task).filter(|_| cumulative(task));
        let by_norm: Option<Vec<Vec<f64>>> = weights.as_ref().map(|seeds| {
            let of = |weights: &Vec<f64>| norm_corrected(weights, &task.norms);
            seeds.iter().map(of).collect()
        });
        for layer in 0..layers(task) {
            let score = column(&curves, layer);
            let below = layer.checked_sub(1).filter(|_| cumulative(task));
            let gain = quantity(below.map(|below| {
                curves
                    .iter()
                    .map(|curve| curve[layer] - curve[below])
                    .collect()
            }));
            let weight = weights
                .as_ref()
                .map(|w| column(w, layer))
                .unwrap_or_default();
            let single = |probes: &[Scored]| probes.get(layer).map(Scored::f1);
            let [control, control_seen] = drawn(task.control.as_ref(), layer);
            let [control_first, control_first_seen] = drawn(task.control_first.as_ref(), layer);
            let code = task.codes.as_ref().and_then(|codes| codes.get(layer));
            self.layers.push(EdgeLayerRow {
                task: task.name.clone(),
                layer,
                score: score.value,
                score_low: score.low,
                score_high: score.high,
                gain: gain.value,
                gain_low: gain.low,
                gain_high: gain.high,
                weight: weight.value,
                weight_low: weight.low,
                weight_high: weight.high,
                weight_by_norm: by_norm.as_ref().and_then(|w| column(w, layer).value),
                norm: task.norms.get(layer).copied(),
                random_encoder: column(&untrained, layer)
                    .value
                    .filter(|_| !untrained.is_empty()),
                shuffled: single(&task.shuffled),
                control,
                control_seen,
                control_first,
                control_first_seen,
                selectivity: score
                    .value
                    .zip(control)
                    .map(|(score, control)| score - control),
                code_bits: code.map(|code| code.online),
                compression: code.map(|code| code.compression()),
            });
        }
    }

    fn add_scores(&mut self, task: &TaskOutcome) {
        let trained = task
            .given
            .iter()
            .flatten()
            .map(|probe| ("trained".to_owned(), "given", probe));
        let words = task
            .words
            .iter()
            .map(|probe| ("words alone".to_owned(), "given", probe));
        let bag = task
            .bag
            .iter()
            .map(|probe| ("words alone, means".to_owned(), "given", probe));
        let untrained = task.untrained.iter().zip(1..).flat_map(|(probes, number)| {
            probes
                .iter()
                .map(move |probe| (format!("untrained {number}"), "given", probe))
        });
        let shuffled = task
            .shuffled
            .iter()
            .map(|probe| ("trained".to_owned(), "shuffled", probe));
        let control = [
            (&task.control, "control"),
            (&task.control_first, "control of the first span"),
        ];
        let control = control.into_iter().flat_map(|(drawn, labels)| {
            let probes = drawn.iter().flat_map(|drawn| &drawn.probes);
            probes.map(move |probe| ("trained".to_owned(), labels, probe))
        });
        let all = trained
            .chain(words)
            .chain(bag)
            .chain(untrained)
            .chain(shuffled)
            .chain(control);
        for (encoder, labels, probe) in all {
            let course = &probe.course;
            let cells = probe.cells;
            let every: Cells = probe.labels.iter().map(|(_, cells)| *cells).sum();
            self.scores.push(EdgeScoreRow {
                task: task.name.clone(),
                encoder,
                labels: labels.into(),
                reads: match course.reading {
                    Reading::Mix(_) => "mix".into(),
                    Reading::Single(_) => "single".into(),
                },
                layer: course.reading.top(),
                seed: course.seed,
                split: task.scored_on.into(),
                f1: Some(cells.f1()),
                precision: Some(cells.precision()),
                recall: Some(cells.recall()),
                true_positives: cells.true_positives,
                false_positives: cells.false_positives,
                false_negatives: cells.false_negatives,
                exact_match: Some(probe.exact_match),
                cell_accuracy: Some(every.accuracy()),
                argmax_accuracy: probe.argmax_accuracy,
                mcc: Some(every.mcc()),
                gamma: probe.mixing.as_ref().map(|(_, gamma)| f64::from(*gamma)),
                steps: course.validations.last().map_or(0, |last| last.step),
                best_validation: course.best as u64 + 1,
                stopped: match course.stop {
                    Some(Stop::Patience) => "no new best",
                    Some(Stop::Rate) => "learning rate too low",
                    Some(Stop::Limit) => "limit",
                    None => "not at all",
                }
                .into(),
                converged: probe.converged,
            });
        }
    }

    fn add_labels(&mut self, task: &TaskOutcome) {
        for layer in 0..layers(task) {
            let probes = || task.given.iter().map(|probes| &probes[layer]);
            let names = probes().next().map(|probe| &probe.labels);
            let labels = names.into_iter().flatten().enumerate();
            let labels = labels.map(|(at, (name, _))| {
                let cells: Cells = probes().map(|probe| probe.labels[at].1).sum();
                ("label", name.clone(), cells)
            });
            let groups = task.others.iter().map(|of| {
                let cells: Cells = probes().map(|probe| within(probe, of)).sum();
                ("group", judged(of), cells)
            });
            for (kind, label, cells) in labels.chain(groups) {
                let any = cells.support() + cells.false_positives > 0;
                self.labels.push(EdgeLabelRow {
                    task: task.name.clone(),
                    layer,
                    kind: kind.into(),
                    label,
                    support: cells.support(),
                    true_positives: cells.true_positives,
                    false_positives: cells.false_positives,
                    false_negatives: cells.false_negatives,
                    precision: any.then(|| cells.precision()),
                    recall: any.then(|| cells.recall()),
                    f1: any.then(|| cells.f1()),
                });
            }
        }
    }

    fn add_weights(&mut self, task: &TaskOutcome) {
        for probe in task.given.iter().flatten() {
            let Some((weights, _)) = &probe.mixing else {
                continue;
            };
            let weights: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
            let by_norm = norm_corrected(&weights, &task.norms);
            for (layer, (weight, by_norm)) in weights.into_iter().zip(by_norm).enumerate() {
                self.weights.push(EdgeWeightRow {
                    task: task.name.clone(),
                    seed: probe.course.seed,
                    probe: probe.course.reading.top(),
                    layer,
                    weight,
                    weight_by_norm: by_norm,
                });
            }
        }
    }

    fn add_strata(&mut self, task: &TaskOutcome) {
        for (at, (by, stratum, targets)) in task.strata.rows().enumerate() {
            if targets == 0 {
                continue;
            }
            for layer in 0..layers(task) {
                let mut sums = [0; 3];
                for probes in &task.given {
                    for (sum, count) in sums.iter_mut().zip(probes[layer].strata[at]) {
                        *sum += count;
                    }
                }
                let [right, wrong, missed] = sums;
                let share = |of: u64, all: u64| {
                    if all == 0 {
                        0.0
                    } else {
                        of as f64 / all as f64
                    }
                };
                self.strata.push(EdgeStratumRow {
                    task: task.name.clone(),
                    by: match by {
                        By::Distance => "distance",
                        By::Height => "height",
                        By::Seen => "seen",
                    }
                    .into(),
                    stratum: stratum.into(),
                    targets,
                    layer,
                    true_positives: right,
                    false_positives: wrong,
                    false_negatives: missed,
                    precision: Some(share(right, right + wrong)),
                    recall: Some(share(right, right + missed)),
                    f1: Some(f1(sums)),
                });
            }
        }
    }
}

/// The scored targets of one label, each with the probabilities of its label and of its rival at every layer.
pub(super) fn examples(task: &TaskOutcome) -> impl Iterator<Item = (EdgeExampleRow, &[[f32; 2]])> {
    let traces = &task.traces;
    (0..task.split().targets()).filter_map(|target| {
        let trace = traces.trace(target)?;
        let names = task.vocabulary.names();
        let name = |label: usize| names[label].clone();
        let label = *task.split().get(target).labels.first()?;
        let place = task.place(target);
        let mut texts = task.words_of(target).into_iter();
        let span = |at: usize| place.spans.get(at).cloned();
        let first = span(0).unwrap_or_default();
        let row = EdgeExampleRow {
            task: task.name.clone(),
            line: place.line,
            span1_start: first.start,
            span1_end: first.end,
            span2_start: span(1).map(|span| span.start),
            span2_end: span(1).map(|span| span.end),
            text1: texts.next().unwrap_or_default(),
            text2: texts.next().unwrap_or_default(),
            label: name(usize::from(label)),
            rival: traces.rival(target).map(name).unwrap_or_default(),
            first_right: trace.first_correct,
            stable_from: trace.stable,
            flips: trace.flips,
            expected_layer: trace.expected_layer,
            ambiguous: traces.is_ambiguous(target),
        };
        Some((row, traces.pairs(target)))
    })
}
