//! What is written.

use bertology::attention::cat::{
    CatScores, CatState, HeadScores, LayerScores, Measure, quantiles,
};
use bertology_run::studies::cat::{
    CatAlignment, CatCounts, CatCurveRow, CatHeadRow, CatKindRow, CatLayer, CatLayerRow,
    CatResults, PARTIAL, SCORES,
};
use bertology_run::table::More;

use crate::args::cat::CatArgs;
use crate::failure::Failure;
use crate::record;
use crate::run_folder::RunFolder;
use crate::tables::array;

pub(super) fn write(
    folder: &RunFolder,
    scores: &CatScores,
    random: &[CatScores],
) -> Result<(), Failure> {
    let encoders = (1..).map(|number| format!("random {number}"));
    let all = [("model".to_owned(), scores)]
        .into_iter()
        .chain(encoders.zip(random));
    let rows = all.flat_map(|(encoder, scores)| {
        let layers = scores.layers.iter();
        layers.flat_map(move |layer| rows_of(&encoder.clone(), layer))
    });
    folder.write_table(&[], rows)?;
    folder.write_table(&[], heads(&scores.heads))?;
    let layers: Vec<String> = (0..scores.layers.len()).map(|at| format!("layer_{at}")).collect();
    let kinds = scores.kinds.iter().map(|kind| CatKindRow {
        kind: kind.kind.clone(),
        leaves: kind.leaves,
        snippets: kind.snippets,
        cells: kind.cells,
        layers: More((0..scores.layers.len()).map(|at| kind.confidence(at)).collect()),
    });
    folder.write_table(&layers, kinds)?;
    let curve = scores.layers.iter().flat_map(|layer| {
        let points = quantiles().into_iter().zip(&layer.curve);
        points.map(|(quantile, cat)| CatCurveRow {
            layer: layer.layer,
            quantile,
            cat: *cat,
        })
    });
    folder.write_table(&[], curve)?;
    for (name, table) in [(SCORES, &scores.heads.cat), (PARTIAL, &scores.heads.partial_rho)] {
        folder.write(name, &array(table))?;
    }
    Ok(())
}

fn rows_of(encoder: &str, layer: &LayerScores) -> Vec<CatLayerRow> {
    let row = |measure: Measure| {
        let mean = layer.mean(measure)?;
        let less = layer.differences.iter().find(|d| d.control == measure);
        let end = |interval: Option<[f64; 2]>, at: usize| interval.map(|ends| ends[at]);
        Some(CatLayerRow {
            encoder: encoder.to_owned(),
            layer: layer.layer,
            measure: measure.name().to_owned(),
            snippets: mean.snippets,
            mean: Some(mean.value),
            standard_error: mean.standard_error,
            low: end(mean.interval, 0),
            high: end(mean.interval, 1),
            score_less: less.map(|less| less.value),
            score_less_low: less.and_then(|less| end(less.interval, 0)),
            score_less_high: less.and_then(|less| end(less.interval, 1)),
        })
    };
    Measure::ALL.into_iter().filter_map(row).collect()
}

fn heads(heads: &HeadScores) -> impl Iterator<Item = CatHeadRow> + '_ {
    heads.cat.live().map(|id| CatHeadRow {
        layer: id.layer,
        head: id.head,
        cat: heads.cat.get(id),
        cat_standard_error: heads.cat_standard_error.get(id),
        off_diagonal: heads.off_diagonal.get(id),
        adjusted: heads.adjusted.get(id),
        rho: heads.rho.get(id),
        partial_rho: heads.partial_rho.get(id),
        permuted: heads.permuted.get(id),
        p_value: heads.p_value.get(id),
    })
}

pub(super) fn results(
    args: &CatArgs,
    input: &super::Input,
    state: &CatState,
    scores: &CatScores,
) -> CatResults {
    let (counts, alignment) = (state.counts(), state.alignment());
    let frequent = &state.options().frequent;
    CatResults {
        counts: CatCounts {
            functions: counts.sequences,
            tokens: counts.tokens,
            leaves: scores.leaves,
            cut: counts.cut,
            with_errors: counts.with_errors,
            not_parsed: counts.not_parsed,
            too_few_leaves: counts.too_few_leaves,
            too_long: counts.too_long,
            empty: counts.empty,
        },
        alignment: CatAlignment {
            tokens: alignment.tokens,
            in_no_leaf: alignment.in_no_leaf,
            in_several: alignment.in_several,
            leaves: alignment.leaves,
            sharing: alignment.sharing,
            without_tokens: alignment.without_tokens,
            beyond: alignment.beyond,
        },
        input: record::name_of(&args.input.reading.input),
        graph: record::name_of(&args.input.reading.graph),
        grammars: super::grammars().collect(),
        layers: scores.layers.iter().map(layer).collect(),
        frequent: (!frequent.is_empty()).then(|| {
            let lists = frequent.iter();
            let one = lists.flat_map(|(language, kinds)| {
                kinds.iter().map(move |kind| format!("{language} {kind}"))
            });
            one.collect()
        }),
        held_out: input.held_out,
        random_encoders: u64::from(args.own.random_encoder),
        downstream: args
            .own
            .downstream
            .iter()
            .map(|given| (given.name.as_str(), given.score))
            .collect(),
    }
}

fn layer(layer: &LayerScores) -> CatLayer {
    let mean = |measure: Measure| layer.mean(measure).map(|mean| mean.value);
    let interval = layer.mean(Measure::Cat).and_then(|mean| mean.interval);
    CatLayer {
        layer: layer.layer as u64,
        cat: mean(Measure::Cat),
        cat_low: interval.map(|[low, _]| low),
        cat_high: interval.map(|[_, high]| high),
        cat_micro: layer.micro,
        adjusted: mean(Measure::Adjusted),
        adjusted_of_means: layer.adjusted_of_means,
        attends_to_structure: layer.attends_to_structure(),
        threshold_near: layer.threshold_near,
    }
}
