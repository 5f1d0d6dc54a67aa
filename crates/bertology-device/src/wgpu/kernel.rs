//! The programs that run on a card, and how each is bound to its operands.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::OnceLock;

use wgpu::{
    BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingType,
    BufferBindingType, BufferSize, ComputePipeline, ComputePipelineDescriptor, Device,
    PipelineCompilationOptions, PipelineLayoutDescriptor, ShaderModuleDescriptor, ShaderSource,
    ShaderStages,
};

/// Bytes that the parameters of an operation take.
pub(super) const PARAMETERS: usize = 128;

/// Threads of a workgroup where each has one number.
pub(super) const FLAT: usize = 256;

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    Fill,
    Copy,
    Gather,
    Scatter,
    Add,
    Multiply,
    Scale,
    ScaleRows,
    ScaleColumns,
    GatherAdd,
    Activate,
    ActivateBackward,
    Norm,
    NormBackward,
    CrossEntropy,
    Softmax,
    SoftmaxBackward,
    Hide,
    AddByOffset,
    AddSpread,
    Turn,
    ScaleHeads,
    HeadDots,
    SumTokens,
    FlagNonfinite,
    SumSpread,
    Linear,
    LinearSmall,
    Products,
    ProductsSmall,
    RowEntropies,
    ClassSums,
    Neighbours,
    SumRows,
    Fold,
    Strongest,
    KeepRows,
    Divergences,
}

/// How a program is bound, what follows the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// It is read.
    Reads,
    /// It is read and written.
    Writes,
    /// It has this place in other programs of the file and none in this one.
    Nothing,
}

const COMMON: &str = include_str!("kernels/common.wgsl");
const FUNCTIONS: &str = include_str!("kernels/functions.wgsl");
const MOVES: &str = include_str!("kernels/moves.wgsl");
const ELEMENTWISE: &str = include_str!("kernels/elementwise.wgsl");
const ACTIVATION: &str = include_str!("kernels/activation.wgsl");
const NORM_COMMON: &str = include_str!("kernels/norm_common.wgsl");
const NORM: &str = include_str!("kernels/norm.wgsl");
const NORM_BACKWARD: &str = include_str!("kernels/norm_backward.wgsl");
const LOSS: &str = include_str!("kernels/loss.wgsl");
const SHAPE: &str = include_str!("kernels/shape.wgsl");
const MAP: &str = include_str!("kernels/map.wgsl");
const REDUCE: &str = include_str!("kernels/reduce.wgsl");
const DIVERGENCE: &str = include_str!("kernels/divergence.wgsl");
const HEADS: &str = include_str!("kernels/heads.wgsl");
const LINEAR: &str = include_str!("kernels/linear.wgsl");
const PRODUCTS: &str = include_str!("kernels/products.wgsl");
const TILE: &str = include_str!("kernels/tile.wgsl");

/// What one program is made of.
struct Parts {
    files: &'static [&'static str],
    entry: &'static str,
    bound: &'static [Bound],
    /// Threads along a side of a tile, where there are tiles.
    side: Option<usize>,
}

impl Kernel {
    /// How many there are.
    const COUNT: usize = Self::Divergences as usize + 1;

    /// Rows and columns that a workgroup computes.
    pub(super) fn tile(self) -> usize {
        4 * self.parts().side.unwrap_or(1)
    }

    fn parts(self) -> Parts {
        use Bound::{Nothing, Reads, Writes};
        let parts = |files, entry, bound| Parts {
            files,
            entry,
            bound,
            side: None,
        };
        let tiles = |files, bound, side| Parts {
            files,
            entry: "main",
            bound,
            side: Some(side),
        };
        let reduce = |entry, bound| parts(&[FUNCTIONS, SHAPE, MAP, REDUCE], entry, bound);
        match self {
            Self::Fill => parts(&[MOVES], "fill", &[Writes]),
            Self::Copy => parts(&[MOVES], "copy", &[Writes, Reads]),
            Self::Gather => parts(&[MOVES], "gather", &[Writes, Reads, Reads]),
            Self::Scatter => parts(&[MOVES], "scatter", &[Writes, Reads, Reads]),
            Self::Add => parts(&[ELEMENTWISE], "add", &[Writes, Reads]),
            Self::Multiply => parts(&[ELEMENTWISE], "multiply", &[Writes, Reads]),
            Self::Scale => parts(&[ELEMENTWISE], "scale", &[Writes]),
            Self::ScaleRows => parts(&[ELEMENTWISE], "scale_rows", &[Writes, Reads]),
            Self::ScaleColumns => parts(&[ELEMENTWISE], "scale_columns", &[Writes, Reads]),
            Self::GatherAdd => parts(&[ELEMENTWISE], "gather_add", &[Writes, Reads, Reads]),
            Self::Activate => parts(&[FUNCTIONS, ACTIVATION], "forward", &[Writes, Reads]),
            Self::ActivateBackward => parts(
                &[FUNCTIONS, ACTIVATION],
                "backward",
                &[Writes, Reads, Reads],
            ),
            Self::Norm => parts(
                &[NORM_COMMON, NORM],
                "main",
                &[Writes, Writes, Writes, Reads, Reads],
            ),
            Self::NormBackward => parts(
                &[NORM_COMMON, NORM_BACKWARD],
                "main",
                &[Writes, Reads, Reads, Reads],
            ),
            Self::CrossEntropy => parts(
                &[FUNCTIONS, NORM_COMMON, LOSS],
                "cross_entropy",
                &[Writes, Writes, Reads, Reads],
            ),
            Self::Softmax => parts(&[FUNCTIONS, SHAPE, MAP], "softmax", &[Reads, Writes]),
            Self::SoftmaxBackward => parts(
                &[FUNCTIONS, SHAPE, MAP],
                "softmax_backward",
                &[Reads, Writes, Reads],
            ),
            Self::Hide => parts(&[FUNCTIONS, SHAPE, MAP], "hide", &[Reads, Writes]),
            Self::AddByOffset => parts(
                &[FUNCTIONS, SHAPE, MAP],
                "add_by_offset",
                &[Reads, Writes, Reads],
            ),
            Self::AddSpread => parts(
                &[FUNCTIONS, SHAPE, MAP],
                "add_spread",
                &[Reads, Writes, Reads, Reads],
            ),
            Self::Turn => parts(
                &[SHAPE, HEADS],
                "turn",
                &[Reads, Writes, Reads, Reads, Reads],
            ),
            Self::ScaleHeads => parts(&[SHAPE, HEADS], "scale_heads", &[Reads, Writes, Reads]),
            Self::HeadDots => parts(&[SHAPE, HEADS], "head_dots", &[Reads, Writes, Reads, Reads]),
            Self::SumTokens => parts(&[SHAPE, HEADS], "sum_tokens", &[Reads, Writes, Reads]),
            Self::FlagNonfinite => {
                parts(&[SHAPE, HEADS], "flag_nonfinite", &[Reads, Writes, Reads])
            }
            Self::SumSpread => parts(
                &[SHAPE, HEADS],
                "sum_spread",
                &[Reads, Writes, Reads, Nothing, Reads],
            ),
            Self::Linear => tiles(&[LINEAR, TILE], &[Writes, Reads, Reads, Reads], 16),
            Self::LinearSmall => tiles(&[LINEAR, TILE], &[Writes, Reads, Reads, Reads], 8),
            Self::Products => tiles(&[SHAPE, PRODUCTS, TILE], &[Reads, Writes, Reads, Reads], 16),
            Self::ProductsSmall => {
                tiles(&[SHAPE, PRODUCTS, TILE], &[Reads, Writes, Reads, Reads], 8)
            }
            Self::RowEntropies => reduce("row_entropies", &[Reads, Writes, Reads]),
            Self::ClassSums => reduce("class_sums", &[Reads, Writes, Reads, Reads, Reads]),
            Self::Neighbours => reduce("neighbours", &[Reads, Writes, Reads]),
            Self::SumRows => reduce("sum_rows", &[Reads, Writes, Reads, Reads]),
            Self::Fold => reduce("fold", &[Reads, Writes, Reads, Reads, Nothing, Reads]),
            Self::Strongest => reduce("strongest", &[Reads, Writes, Reads, Reads]),
            Self::KeepRows => reduce("keep_rows", &[Reads, Writes, Reads, Reads]),
            Self::Divergences => parts(
                &[FUNCTIONS, NORM_COMMON, DIVERGENCE],
                "divergences",
                &[Writes, Reads],
            ),
        }
    }

    /// The whole program in WGSL.
    fn source(self) -> String {
        let parts = self.parts();
        let mut source = COMMON.to_owned();
        if let Some(side) = parts.side {
            let _ = writeln!(source, "const SIDE: u32 = {side}u;");
        }
        parts.files.iter().for_each(|file| source.push_str(file));
        source
    }
}

/// A program, ready to run.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) pipeline: ComputePipeline,
    pub(super) layout: BindGroupLayout,
    /// The binding of each operand.
    pub(super) places: Vec<u32>,
}

/// The programs that were asked for so far.
#[derive(Debug)]
pub(super) struct Kernels {
    ready: [OnceLock<Ready>; Kernel::COUNT],
}

impl Kernels {
    pub(super) fn new() -> Self {
        Self {
            ready: [const { OnceLock::new() }; Kernel::COUNT],
        }
    }

    /// A program, compiled the first time that it is asked for.
    pub(super) fn get(&self, device: &Device, kernel: Kernel) -> &Ready {
        self.ready[kernel as usize].get_or_init(|| make(device, kernel))
    }
}

fn make(device: &Device, kernel: Kernel) -> Ready {
    let parts = kernel.parts();
    let buffer = |binding, ty, dynamic, size| BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: BindingType::Buffer {
            ty,
            has_dynamic_offset: dynamic,
            min_binding_size: size,
        },
        count: None,
    };
    let mut entries = vec![buffer(
        0,
        BufferBindingType::Uniform,
        true,
        BufferSize::new(PARAMETERS as u64),
    )];
    let mut places = Vec::new();
    for (binding, bound) in (1..).zip(parts.bound) {
        if *bound == Bound::Nothing {
            continue;
        }
        let read_only = *bound == Bound::Reads;
        let ty = BufferBindingType::Storage { read_only };
        entries.push(buffer(binding, ty, false, None));
        places.push(binding);
    }
    let layout = device.create_bind_group_layout(&BindGroupLayoutDescriptor {
        label: None,
        entries: &entries,
    });
    let whole = device.create_pipeline_layout(&PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let module = device.create_shader_module(ShaderModuleDescriptor {
        label: Some(parts.entry),
        source: ShaderSource::Wgsl(Cow::Owned(kernel.source())),
    });
    let pipeline = device.create_compute_pipeline(&ComputePipelineDescriptor {
        label: Some(parts.entry),
        layout: Some(&whole),
        module: &module,
        entry_point: Some(parts.entry),
        compilation_options: PipelineCompilationOptions {
            constants: &[],
            // Every one writes what it reads there.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    });
    Ready {
        pipeline,
        layout,
        places,
    }
}

#[cfg(test)]
mod tests {
    use naga::back::{hlsl, msl};
    use naga::valid::{Capabilities, ValidationFlags, Validator};

    use super::Kernel;

    const ALL: [Kernel; Kernel::COUNT] = [
        Kernel::Fill,
        Kernel::Copy,
        Kernel::Gather,
        Kernel::Scatter,
        Kernel::Add,
        Kernel::Multiply,
        Kernel::Scale,
        Kernel::ScaleRows,
        Kernel::ScaleColumns,
        Kernel::GatherAdd,
        Kernel::Activate,
        Kernel::ActivateBackward,
        Kernel::Norm,
        Kernel::NormBackward,
        Kernel::CrossEntropy,
        Kernel::Softmax,
        Kernel::SoftmaxBackward,
        Kernel::Hide,
        Kernel::AddByOffset,
        Kernel::AddSpread,
        Kernel::Turn,
        Kernel::ScaleHeads,
        Kernel::HeadDots,
        Kernel::SumTokens,
        Kernel::FlagNonfinite,
        Kernel::SumSpread,
        Kernel::Linear,
        Kernel::LinearSmall,
        Kernel::Products,
        Kernel::ProductsSmall,
        Kernel::RowEntropies,
        Kernel::ClassSums,
        Kernel::Neighbours,
        Kernel::SumRows,
        Kernel::Fold,
        Kernel::Strongest,
        Kernel::KeepRows,
        Kernel::Divergences,
    ];

    /// What runs on Macs and on Windows is at least what their compilers are given: every program is sound by itself, without
    /// anything that only some cards have, and has a translation.
    #[test]
    fn programs_have_translations_for_metal_and_dx12() {
        for kernel in ALL {
            let module = naga::front::wgsl::parse_str(&kernel.source()).expect("WGSL");
            let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
            let info = validator.validate(&module);
            let info = info.unwrap_or_else(|error| panic!("{kernel:?}: {error:?}"));
            let entry = kernel.parts().entry;
            let options = msl::Options {
                lang_version: (2, 0),
                ..msl::Options::default()
            };
            let pipeline = msl::PipelineOptions::default();
            let (text, _) = msl::write_string(&module, &info, &options, &pipeline)
                .unwrap_or_else(|error| panic!("{kernel:?}: {error}"));
            assert!(text.contains("kernel void"), "{kernel:?}");
            let mut text = String::new();
            let options = hlsl::Options::default();
            let pipeline = hlsl::PipelineOptions::default();
            let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
            let written = writer.write(&module, &info, None);
            written.unwrap_or_else(|error| panic!("{kernel:?}: {error}"));
            assert!(
                text.contains("numthreads") && text.contains(entry),
                "{kernel:?}"
            );
        }
    }
}
