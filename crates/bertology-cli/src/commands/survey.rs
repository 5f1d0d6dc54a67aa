//! `bertology survey`: several studies of a treebank in one pass.
use super::Done;
use crate::args::SurveyArgs;
use crate::failure::Failure;
use crate::show::Screen;

pub(crate) fn run(_: SurveyArgs, _: &Screen) -> Result<Done, Failure> {
    Err(Failure::work("not yet"))
}
