//! Which model, and how exactly it computes.

use std::fmt;
use std::path::PathBuf;

use bertology::{Device, Precision};
use clap::Args;
use serde::{Serialize, Serializer};

use crate::failure::Failure;

/// Which model.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct ModelArgs {
    /// A folder in Hugging Face layout, or a hub id such as textattack/bert-base-uncased-MRPC.
    #[arg(value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Another way to give MODEL.
    #[arg(long, value_name = "MODEL", hide = true)]
    #[serde(skip)]
    pub(crate) model_name_or_path: Option<String>,
    /// Branch, tag or commit on the hub.
    #[arg(long, value_name = "REVISION", help_heading = "Model")]
    pub(crate) revision: Option<String>,
    /// Use the cache only, never the network (as HF_HUB_OFFLINE=1).
    #[arg(long, help_heading = "Model")]
    pub(crate) offline: bool,
    /// Where downloaded models are kept [default: the Hugging Face cache].
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Leave out tensors that config.json does not explain, instead of refusing the checkpoint.
    #[arg(long, help_heading = "Model")]
    pub(crate) allow_unexpected: bool,
}

/// How exactly a pass computes, and where.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct ComputingArgs {
    /// How exactly linear maps are computed: f32; split, by two bf16 parts of each number; bf16.
    #[arg(long, value_name = "PRECISION", help_heading = "Model", default_value_t = Precision::F32)]
    #[serde(serialize_with = "written")]
    pub(crate) precision: Precision,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) place: DeviceArgs,
}

/// Where a pass computes.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct DeviceArgs {
    /// Where passes run: cpu; gpu:N or gpu:NAME, a graphics card of `bertology devices`; auto, a card if it is faster.
    #[arg(long, value_name = "DEVICE", help_heading = "Model", default_value_t = Device::Cpu)]
    #[serde(serialize_with = "written")]
    pub(crate) device: Device,
}

fn written<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl ModelArgs {
    /// MODEL, however it was given.
    pub(crate) fn name(&self) -> Result<&str, Failure> {
        match (&self.model, &self.model_name_or_path) {
            (Some(name), None) | (None, Some(name)) => Ok(name),
            (None, None) => Err(Failure::input(
                "no MODEL given: name a folder in Hugging Face layout or a hub id",
            )),
            (Some(first), Some(second)) => Err(Failure::input(format!(
                "two models are given, {first} and {second}; leave one of them out"
            ))),
        }
    }

    /// Another model, found in the same way; --revision is that of the first.
    pub(crate) fn other(&self, name: &str) -> Self {
        Self {
            model: Some(name.to_owned()),
            model_name_or_path: None,
            revision: None,
            ..self.clone()
        }
    }

    /// Where texts stand behind MODEL: with --model-name-or-path the first of them was taken for it.
    pub(crate) fn give_back(&mut self, texts: &mut Vec<String>) {
        if self.model_name_or_path.is_some()
            && let Some(text) = self.model.take()
        {
            texts.insert(0, text);
        }
    }
}
