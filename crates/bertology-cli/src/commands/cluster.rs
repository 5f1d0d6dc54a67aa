//! `bertology cluster`: which heads look at the same things.

use bertology::attention::TextSupply;
use bertology::attention::cluster::mds::scale_to_plane;
use bertology::attention::cluster::{
    ClusterCount, Clusters, DistanceOptions, DistanceState, Layout, MdsOptions, RowChoice, Scale,
    Smoothing,
};
use bertology::{Error, HeadId};
use bertology_run::results::finite;
use bertology_run::studies::cluster::{
    ClusterResults, ClusterRow, ClusterTrial, DISTANCES, MapOfHeads,
};
use serde_json::json;

use crate::args::{ClusterArgs, ClustersArg, DistanceArg, SmoothingArg};
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::data;
use crate::failure::Failure;
use crate::npy;
use crate::record::{self, Run};
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::text::{count, plural, seconds};
use crate::show::{Screen, passages as show, plane};
use crate::study;

/// A cut that leaves this share of the heads in one cluster tells little of them.
const LOPSIDED: f64 = 0.9;

/// What is opened besides the model.
pub(crate) struct Input {
    texts: TextSupply,
    options: DistanceOptions,
}

impl StudyCommand for ClusterArgs {
    const NAME: &'static str = "cluster";
    const LAP: &'static str = "distances";

    type Input = Input;
    type Supply = TextSupply;
    type Study = DistanceState;

    fn prepare(&mut self, screen: &Screen) -> Result<(), Failure> {
        data::settle(&mut self.input, screen);
        memory(self.own.memory).map(drop)
    }

    fn open(&self, opened: &Opened, screen: &Screen) -> Result<Input, Failure> {
        let heads = opened.model.model().heads().count();
        check_clusters(self.own.clusters, heads)?;
        Ok(Input {
            texts: data::texts(opened, &self.input, screen)?,
            options: distance_options(self, screen)?,
        })
    }

    fn identity(&self, input: &Input, run: &mut Run) {
        run.set_seed(Some(self.own.seed));
        run.set_texts(&input.texts, json!({}));
    }

    fn stages<'a>(
        &self,
        opened: &'a Opened,
        input: &'a Input,
        _: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure> {
        let state = DistanceState::new(&opened.model, &input.options);
        let state = state.map_err(|e| failure(&e))?;
        Ok(vec![Stage::new(&opened.model, &input.texts, state)])
    }

    fn unit(&self, _: &Input) -> &'static str {
        "text"
    }

    fn headline(&self, opened: &Opened, input: &Input) -> Result<String, Failure> {
        Ok(show::headline(opened, &input.texts))
    }

    fn notes(&self, input: &Input, screen: &Screen) {
        study::note_skipped_texts(&input.texts, screen);
    }

    fn results(
        &self,
        ended: &mut Ended<'_>,
        input: &Input,
        studies: Vec<DistanceState>,
    ) -> Result<Shown, Failure> {
        let state = super::only(studies)?;
        show::some(state.counts(), &input.texts)?;
        if let Some(left_out) = show::left_out(state.counts(), &input.texts) {
            ended.screen.note(&left_out);
        }
        let heads = state.heads();
        let found = Found::new(&state, &heads, self).map_err(|e| failure(&e))?;
        ended.run.clock.lap("map");
        if let Some(folder) = ended.folder {
            found.write(folder)?;
        }
        Ok(Shown {
            results: json!(found.results()),
            text: format!(
                "\n{}\n\n{}{}\n{}",
                found.text(),
                show::studied(state.counts(), &input.texts),
                match state.sums().rows() {
                    rows if rows == state.sums().tokens() => String::new(),
                    rows => format!(", of which {} compared", count(rows)),
                },
                seconds(ended.time)
            ),
        })
    }
}

/// GiB as bytes.
fn memory(gib: f64) -> Result<u64, Failure> {
    if gib > 0.0 && gib.is_finite() {
        Ok((gib * f64::from(1 << 30)) as u64)
    } else {
        Err(Failure::input(format!(
            "--memory {gib}: give a number of GiB above 0"
        )))
    }
}

fn distance_options(args: &ClusterArgs, screen: &Screen) -> Result<DistanceOptions, Failure> {
    let args = &args.own;
    let rows = match (args.rows, args.row_fraction) {
        (Some(rows), _) => RowChoice::Count(rows.get()),
        (None, Some(share)) => RowChoice::Fraction(share),
        (None, None) => RowChoice::All,
    };
    if args.restarts == 0 && rows == RowChoice::All && args.seed != 42 {
        screen.note("--seed has no effect: nothing here is random");
    }
    Ok(DistanceOptions::default()
        .smoothing(match args.smoothing {
            SmoothingArg::Paper => Smoothing::Paper,
            SmoothingArg::None => Smoothing::None,
        })
        .rows(rows, args.seed)
        .memory(memory(args.memory)?))
}

/// Before the work, not after it.
fn check_clusters(clusters: ClustersArg, heads: usize) -> Result<(), Failure> {
    match clusters {
        ClustersArg::Exactly(number) if number.get() > heads => Err(Failure::input(format!(
            "--clusters {number}: the model has {}; give at most {heads}",
            plural(heads as u64, "head")
        ))),
        _ => Ok(()),
    }
}

/// Everything that comes of the distances.
struct Found<'a> {
    state: &'a DistanceState,
    heads: &'a [HeadId],
    scale: Scale,
    sums: Vec<f64>,
    layout: Layout,
    clusters: Clusters,
}

impl<'a> Found<'a> {
    fn new(
        state: &'a DistanceState,
        heads: &'a [HeadId],
        args: &ClusterArgs,
    ) -> Result<Self, Error> {
        let args = &args.own;
        let scale = match args.distance {
            DistanceArg::Mean => Scale::Mean,
            DistanceArg::Sqrt => Scale::Sqrt,
        };
        let distances = state.sums().distances(scale)?;
        let options = MdsOptions::default()
            .restarts(args.restarts as usize)
            .seed(args.seed);
        let clusters = match args.clusters {
            ClustersArg::Auto => ClusterCount::Auto,
            ClustersArg::Exactly(number) => ClusterCount::Exactly(number.get()),
        };
        Ok(Self {
            state,
            heads,
            scale,
            sums: state.sums().distances(Scale::Sum)?.values().to_vec(),
            layout: scale_to_plane(&distances, &options),
            clusters: Clusters::new(&distances, clusters)?,
        })
    }

    /// The distances as an array, clusters and places on the map as a table.
    fn write(&self, folder: &RunFolder) -> Result<(), Failure> {
        let shape = [self.heads.len(); 2];
        folder.write(DISTANCES, &npy::encode(&shape, &self.sums))?;
        let rows = self.heads.iter().enumerate().map(|(at, id)| {
            let [x, y] = self.layout.points[at];
            ClusterRow {
                layer: id.layer,
                head: id.head,
                cluster: self.clusters.labels[at],
                x,
                y,
                silhouette: self.clusters.silhouettes[at],
            }
        });
        Ok(folder.write_table(&[], rows)?)
    }

    fn results(&self) -> ClusterResults {
        let Self {
            state,
            layout,
            clusters,
            ..
        } = self;
        let members = clusters.members();
        let members = members.iter();
        let tried = clusters.tried.iter();
        ClusterResults {
            counts: Some(record::texts(state.counts())),
            heads: record::names(self.heads),
            tokens: state.sums().tokens(),
            rows: state.sums().rows(),
            distance: record::name_of(&self.scale),
            map: Some(MapOfHeads {
                stress: finite(layout.stress),
                relative_stress: finite(layout.relative_stress),
                starts: json!(layout.descents),
            }),
            clusters: members
                .map(|members| record::names(members.iter().map(|at| &self.heads[*at])))
                .collect(),
            mean_silhouette: finite(clusters.mean_silhouette()),
            tried: tried
                .map(|(clusters, silhouette)| ClusterTrial {
                    clusters: *clusters as u64,
                    mean_silhouette: finite(*silhouette),
                })
                .collect(),
        }
    }

    fn text(&self) -> String {
        let Self {
            layout, clusters, ..
        } = self;
        let chosen = match clusters.tried.len() {
            0 | 1 => String::new(),
            tried => format!(", the best of {tried} cuts"),
        };
        // So the largest is all heads but a few.
        let largest = clusters.members().iter().map(Vec::len).max().unwrap_or(0);
        let apart = self.heads.len() - largest;
        let lopsided = match clusters.count {
            2.. if largest as f64 >= LOPSIDED * self.heads.len() as f64 => format!(
                "\n\nThis cut sets {} apart and leaves {largest} together: it finds outliers, not\n\
                 groups. --clusters K cuts into K clusters.",
                plural(apart as u64, "head")
            ),
            _ => String::new(),
        };
        format!(
            "{} of heads that look alike{chosen} (mean silhouette {:.2})\n(layers and heads \
             counted from 0)\n{}{lopsided}\n\nMap, by cluster; {} where several share a place (relative \
             stress {:.3})\n{}",
            plural(clusters.count as u64, "cluster"),
            clusters.mean_silhouette(),
            plane::table(self.heads, clusters),
            char::from(plane::MIXED),
            layout.relative_stress,
            plane::map(layout, clusters),
        )
    }
}
