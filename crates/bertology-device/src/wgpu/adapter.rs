//! Which cards there are, and how one is opened.

use std::sync::Arc;

use wgpu::{
    Adapter, Backend, Backends, DeviceDescriptor, DeviceType, Instance, InstanceDescriptor,
    InstanceFlags, Limits, MemoryBudgetThresholds,
};

use super::faults::Faults;
use super::kernel::FLAT;
use super::stream::Card;
use super::wait::now;
use super::{Bounds, Which};
use crate::{Error, Info, Kind, MAP_BYTES};

/// Percent of a card's memory, above which it refuses a buffer rather than move others out.
const FULL: u8 = 95;

/// Bytes in the memory of a workgroup that the programs use.
const SHARED: u32 = 2 * 16 * 17 * 16;

/// Buffers that one program uses.
const OPERANDS: u32 = 5;

fn instance() -> Instance {
    Instance::new(InstanceDescriptor {
        backends: Backends::VULKAN | Backends::METAL | Backends::DX12,
        // No layers that check what this library has checked already.
        flags: InstanceFlags::empty(),
        memory_budget_thresholds: MemoryBudgetThresholds {
            for_resource_creation: Some(FULL),
            for_device_loss: None,
        },
        ..InstanceDescriptor::new_without_display_handle()
    })
}

/// Bytes that one buffer may have: a program reaches whole numbers of four bytes, as many as 32 bits count.
fn largest(limits: &Limits) -> u64 {
    limits
        .max_buffer_size
        .min(limits.max_storage_buffer_binding_size)
        .min(u64::from(u32::MAX) * 4)
        / 4
        * 4
}

fn through(backend: Backend) -> &'static str {
    match backend {
        Backend::Vulkan => "Vulkan",
        Backend::Metal => "Metal",
        Backend::Dx12 => "DX12",
        Backend::Gl => "OpenGL",
        Backend::BrowserWebGpu => "WebGPU",
        Backend::Noop => "nothing",
    }
}

fn info(adapter: &Adapter) -> Info {
    let about = adapter.get_info();
    let software = ["llvmpipe", "SwiftShader", "Microsoft Basic Render"];
    let software = about.device_type == DeviceType::Cpu
        || software.iter().any(|name| about.name.contains(name));
    let largest_buffer = largest(&adapter.limits());
    Info {
        map_bytes: MAP_BYTES.min(largest_buffer),
        kind: if software { Kind::Software } else { Kind::Gpu },
        through: through(about.backend).to_owned(),
        largest_buffer,
        name: about.name,
    }
}

/// Lower is better.
fn rank(adapter: &Adapter, info: &Info) -> u8 {
    match adapter.get_info().device_type {
        _ if info.kind == Kind::Software => 4,
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other | DeviceType::Cpu => 3,
    }
}

/// All cards, the best first; those that are equal in the order in which the system names them.
fn all() -> Vec<(Adapter, Info)> {
    let instance = instance();
    let adapters = now(instance.enumerate_adapters(Backends::all()));
    let mut all: Vec<_> = adapters
        .into_iter()
        .map(|adapter| {
            let info = info(&adapter);
            (adapter, info)
        })
        .collect();
    all.sort_by_key(|(adapter, info)| rank(adapter, info));
    all
}

pub(super) fn list() -> Vec<Info> {
    all().into_iter().map(|(_, info)| info).collect()
}

/// What a card lacks of what the programs need.
fn lacking(limits: &Limits) -> Option<String> {
    let needs = [
        (
            "threads of a workgroup",
            limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x),
            FLAT as u32,
        ),
        (
            "bytes of memory of a workgroup",
            limits.max_compute_workgroup_storage_size,
            SHARED,
        ),
        (
            "buffers of one program",
            limits.max_storage_buffers_per_shader_stage,
            OPERANDS,
        ),
    ];
    let (what, has, needed) = needs.into_iter().find(|(_, has, needed)| has < needed)?;
    Some(format!("it has {has} {what}, and {needed} are needed"))
}

pub(super) fn open(which: Which<'_>, bounds: Bounds) -> Result<Card, Error> {
    let device = match which {
        Which::Best => "a graphics card".to_owned(),
        Which::Number(number) => format!("graphics card {number}"),
        Which::Name(name) => format!("a graphics card named {name:?}"),
    };
    let unavailable = |reason: String| Error::Unavailable {
        device: device.clone(),
        reason,
    };
    let all = all();
    if all.is_empty() {
        return Err(unavailable(
            "the system names none: there is no card, or no driver of Vulkan, Metal or DX12 for it"
                .to_owned(),
        ));
    }
    let names: Vec<&str> = all.iter().map(|(_, info)| info.name.as_str()).collect();
    let there = format!("there is {}", names.join(", "));
    let found = match which {
        Which::Best => Some(0),
        Which::Number(number) => (number < all.len()).then_some(number),
        Which::Name(name) => {
            let name = name.to_lowercase();
            names
                .iter()
                .position(|other| other.to_lowercase().contains(&name))
        }
    };
    let Some((adapter, mut info)) = found.and_then(|at| all.into_iter().nth(at)) else {
        return Err(unavailable(there));
    };
    let limits = adapter.limits();
    if let Some(lacking) = lacking(&limits) {
        return Err(unavailable(lacking));
    }
    let opened = now(adapter.request_device(&DeviceDescriptor {
        label: None,
        required_limits: limits,
        ..DeviceDescriptor::default()
    }));
    let (device, queue) = opened.map_err(|error| unavailable(error.to_string()))?;
    let faults = Arc::new(Faults::new(info.name.clone()));
    let noted = Arc::clone(&faults);
    device.on_uncaptured_error(Arc::new(move |error| noted.note(error)));
    let noted = Arc::clone(&faults);
    device.set_device_lost_callback(move |_, reason| {
        noted.lose(if reason.is_empty() {
            "its driver gives no reason".to_owned()
        } else {
            reason
        });
    });
    info.largest_buffer = info.largest_buffer.min(bounds.largest_buffer) / 4 * 4;
    info.map_bytes = info.map_bytes.min(info.largest_buffer);
    Ok(Card::new(info, (device, queue), faults, bounds.memory))
}

#[cfg(test)]
mod tests {
    use wgpu::Limits;

    use super::{lacking, largest};

    /// What a driver reports may be no measure of anything.
    #[test]
    fn absurd_limits() {
        let mut limits = Limits {
            max_buffer_size: u64::MAX,
            max_storage_buffer_binding_size: u64::MAX,
            ..Limits::default()
        };
        assert_eq!(largest(&limits), u64::from(u32::MAX) * 4);
        assert_eq!(lacking(&limits), None);
        limits.max_buffer_size = 0;
        assert_eq!(largest(&limits), 0);
        limits.max_compute_invocations_per_workgroup = 1;
        assert!(lacking(&limits).is_some_and(|reason| reason.contains("1 threads")));
    }
}
