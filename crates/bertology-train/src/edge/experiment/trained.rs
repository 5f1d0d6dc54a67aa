//! All that is trained on the states of the encoder that has learnt.

use bertology::LoadedModel;
use bertology::data::Slice;

use super::{Drawn, Options, Prepared, Scored, Splits, TaskOutcome};
use crate::Error;
use crate::edge::control::{Control, by_type, majority, shuffled};
use crate::edge::stage::{Judge, Shop};
use crate::edge::strata::Strata;
use crate::edge::summary::layer_norms;
use crate::edge::texts::{SpanTexts, WordStates};
use crate::edge::{
    Data, LayerStates, Output, Pieces, Plan, Pooling, Reading, Settings, Split, Standardized,
    StateStore,
};

/// The states with layers of one length, if they are wanted so.
pub(super) fn standard<'s>(
    options: &Options,
    states: &'s dyn LayerStates,
    train: &Split,
) -> Result<Option<Standardized<'s>>, Error> {
    let wanted = options.standardize;
    wanted.then(|| Standardized::new(states, train)).transpose()
}

/// What probes read.
pub(super) fn read_by<'s>(
    standard: &'s Option<Standardized<'s>>,
    states: &'s dyn LayerStates,
) -> &'s dyn LayerStates {
    match standard {
        Some(standard) => standard,
        None => states,
    }
}

pub(super) fn one_seed(options: &Options) -> &[u64] {
    &options.seeds[..options.seeds.len().min(1)]
}

pub(super) fn plan(
    settings: Settings,
    options: &Options,
    states: &dyn LayerStates,
    seeds: &[u64],
) -> Plan {
    let mut plan = Plan::cumulative(options.design, states.layers(), seeds, settings);
    if options.single {
        // Layers are far fewer than 2¹⁶.
        plan.readings = (0..states.layers())
            .map(|layer| Reading::Single(layer as u16))
            .collect();
    }
    plan
}

/// All that is learnt of the trained encoder.
pub(super) fn trained(
    shop: &mut Shop<'_>,
    at: usize,
    prepared: Prepared<'_>,
    store: &StateStore,
    (pieces, model): (&Pieces, &LoadedModel),
    options: &Options,
) -> Result<TaskOutcome, Error> {
    let Prepared {
        task,
        files,
        vocabulary,
    } = prepared;
    let splits = Splits::new(&files, &vocabulary, pieces, options.later)?;
    let scored_on = match &splits.test {
        Some(_) if !options.score_dev => "test",
        _ => "dev",
    };
    let texts = |role: &str| {
        let records = match (role, &task.test) {
            ("train", _) => &task.train,
            ("test", Some(test)) => test,
            _ => &task.dev,
        };
        let file = files.iter().find(|file| file.role == role);
        file.map_or_else(
            || Ok(SpanTexts::default()),
            |file| SpanTexts::read(records, &file.gathered),
        )
    };
    let (of_train, of_scored) = (texts("train")?, texts(scored_on)?);
    let scored_split = splits.scored(scored_on);
    let strata = of_scored.strata();
    let slice = task.judged.reported();
    let judge = Judge::new(scored_split, &vocabulary, slice, Some(&strata));
    let standardized = standard(options, store, &splits.train)?;
    let store = read_by(&standardized, store);
    let mut settings = options.profile.settings(&splits.train);
    if let Some(epochs) = options.epochs {
        settings = settings.with_epochs(epochs, &splits.train);
    }
    let layers = store.layers();
    let whole = plan(settings, options, store, &options.seeds);
    let suite = shop.train(&format!("{at}-given"), splits.data(store), whole)?;
    let probabilities = shop.folder.join(format!("probabilities-{at}.bin"));
    let probabilities = options.probabilities.then_some(probabilities);
    let (given, traces) = shop.score_and_trace(&suite, &judge, probabilities.as_deref())?;
    drop(suite);
    let given: Vec<Vec<Scored>> = given.chunks(layers).map(<[Scored]>::to_vec).collect();

    let (mut words, mut bag) = (Vec::new(), Vec::new());
    if options.controls.words {
        let states = WordStates::new(model, pieces);
        let standardized = standard(options, &states, &splits.train)?;
        let states = read_by(&standardized, &states);
        let mut of = |name: &str, pooling: Pooling| {
            let mut plan = Plan {
                readings: vec![Reading::Single(0)],
                ..plan(settings, options, states, &options.seeds)
            };
            plan.design.pooling = pooling;
            let suite = shop.train(&format!("{at}-{name}"), splits.data(states), plan)?;
            shop.score(&suite, &judge)
        };
        words = of("words", options.design.pooling)?;
        bag = match options.design.pooling {
            Pooling::Mean => words.clone(),
            _ => of("bag", Pooling::Mean)?,
        };
    }
    let one = || plan(settings, options, store, one_seed(options));
    let seed = options.seeds.first().copied().unwrap_or_default();
    let mut without_meaning = Vec::new();
    if options.controls.shuffled {
        let train = shuffled(&splits.train, seed)?;
        let data = Data {
            train: &train,
            ..splits.data(store)
        };
        let suite = shop.train(&format!("{at}-shuffled"), data, one())?;
        without_meaning = shop.score(&suite, &judge)?;
    }
    let (mut control, mut control_first) = (None, None);
    if options.controls.control {
        // Where the development split is the scored one, it is read already.
        let of_dev = match scored_on {
            "dev" => None,
            _ => Some(texts("dev")?),
        };
        let mut drawn = |name: &str, first_span: bool| {
            let control = Control::new(&task.name, seed, &splits.train, first_span)?;
            let redrawn = |split: &Split, texts: &SpanTexts| {
                control.relabel(split, &|target| texts.of(target))
            };
            let train = redrawn(&splits.train, &of_train)?;
            let scored = redrawn(scored_split, &of_scored)?;
            let dev = of_dev.as_ref().map(|texts| redrawn(&splits.dev, texts));
            let dev = dev.transpose()?;
            let seen = control.seen(
                (&splits.train, &|target| of_train.of(target)),
                (scored_split, &|target| of_scored.of(target)),
            );
            let known = seen.iter().filter(|seen| **seen).count();
            let strata = Strata::of_seen(&seen);
            let data = Data {
                states: store,
                train: &train,
                dev: dev.as_ref().unwrap_or(&scored),
            };
            let suite = shop.train(&format!("{at}-{name}"), data, one())?;
            let judge = Judge::new(&scored, &vocabulary, Slice::All, Some(&strata));
            Ok::<_, Error>(Drawn {
                probes: shop.score(&suite, &judge)?,
                seen: known as f64 / seen.len().max(1) as f64,
            })
        };
        control = Some(drawn("control", false)?);
        if splits.train.roles() == 2 {
            control_first = Some(drawn("control-first", true)?);
        }
    }
    let mut codes = None;
    if options.controls.code {
        let mut plan = one();
        if splits.train.is_single_label() {
            plan.design.output = Output::Softmax;
        }
        codes = Some(shop.code(&format!("{at}"), splits.data(store), &plan, seed)?);
    }
    let most = majority(&splits.train);
    let guesses = by_type(
        (&splits.train, &|target| of_train.of(target)),
        (scored_split, &|target| of_scored.of(target)),
    );
    let by_majority = judge.guesses(&vec![most; scored_split.targets()])?.f1();
    let by_type = judge.guesses(&guesses)?.f1();
    let norms = layer_norms(store, scored_split)?;
    Ok(TaskOutcome {
        name: task.name.clone(),
        slice: task.judged.reported(),
        others: task.judged.others(),
        scored_on,
        settings,
        majority: by_majority,
        type_majority: by_type,
        given,
        words,
        bag,
        untrained: Vec::new(),
        shuffled: without_meaning,
        control,
        control_first,
        codes,
        norms,
        traces,
        probabilities,
        strata,
        splits,
        texts: of_scored,
        files,
        vocabulary,
    })
}
