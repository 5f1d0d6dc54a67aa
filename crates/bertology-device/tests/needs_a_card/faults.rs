//! What goes wrong ends in a message.

use std::process::Command;

use bertology_device::wgpu::{Bounds, Which};
use bertology_device::{Device, Error, Kind, Wgpu};
use bertology_error::Kind as Fault;

use crate::numbers::card;

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn a_card_by_number_and_by_name() {
    let list = Wgpu::list();
    let best = card().info();
    assert_eq!(&list[0], best);
    assert!(best.largest_buffer >= 1 << 27, "{best:?}");
    assert!(best.kind != Kind::Host, "{best:?}");
    if best.name.contains("llvmpipe") {
        assert_eq!(best.kind, Kind::Software);
    }
    let part = best.name.to_uppercase();
    let named = Wgpu::open(Which::Name(&part[..4])).unwrap();
    assert_eq!(named.info(), best);
    assert_eq!(Wgpu::open(Which::Number(0)).unwrap().info(), best);
    // A clone has the same buffers.
    let x = named.upload(&[4.0]).unwrap();
    assert_eq!(named.clone().read(&x, 0..1).unwrap(), [4.0]);
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn a_card_that_is_not_there() {
    for which in [Which::Number(1000), Which::Name("no such card")] {
        let error = Wgpu::open(which).unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains(&card().info().name), "{error}");
    }
}

/// Set in the process that is to find no card.
const CHILD: &str = "BERTOLOGY_TEST_WITHOUT_A_CARD";

/// Says what opening a card gives; a process of its own, for the environment decides.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn child_without_a_card() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let error = Wgpu::open(Which::Best).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(error.kind(), Fault::Environment);
    assert!(Wgpu::list().is_empty());
    println!("told: {error}");
}

#[cfg(target_os = "linux")]
fn child(variables: &[(&str, &std::path::Path)]) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("faults::child_without_a_card")
        .envs(variables.iter().copied())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    let trouble = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{text}{trouble}");
    assert!(
        text.contains("told: a graphics card cannot be used"),
        "{text}"
    );
    assert!(!trouble.contains("panicked"), "{trouble}");
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
#[cfg(target_os = "linux")]
fn a_system_without_drivers() {
    let nowhere = std::path::Path::new("/nowhere/icd.json");
    child(&[("VK_ICD_FILENAMES", nowhere), ("VK_DRIVER_FILES", nowhere)]);
}

/// What is found in the place of the loader cannot be loaded.
#[test]
#[ignore = "tools/device/check.sh runs it"]
#[cfg(target_os = "linux")]
fn a_system_without_a_loader() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["libvulkan.so.1", "libvulkan.so"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    child(&[("LD_LIBRARY_PATH", folder.path())]);
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn buffers_that_are_too_large() {
    let bounds = Bounds {
        largest_buffer: 4003,
        ..Bounds::default()
    };
    let device = Wgpu::open_within(Which::Best, bounds).unwrap();
    assert_eq!(device.info().largest_buffer, 4000);
    let whole = device.zeros(1000).unwrap();
    assert_eq!(device.read(&whole, 998..1000).unwrap(), [0.0; 2]);
    let too_large = |error| {
        matches!(
            error,
            Error::TooLarge {
                needed: 4004,
                limit: 4000,
                ..
            }
        )
    };
    assert!(too_large(device.zeros(1001).unwrap_err()));
    assert!(too_large(device.upload(&[0.0; 1001]).unwrap_err()));
    assert!(too_large(device.indices(&[0; 1001]).unwrap_err()));
    for len in [usize::MAX, usize::MAX / 4, 1 << 33] {
        let error = card().zeros(len).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    }
    let bounds = Bounds {
        largest_buffer: 0,
        ..Bounds::default()
    };
    let device = Wgpu::open_within(Which::Best, bounds).unwrap();
    assert!(device.zeros(0).is_ok());
    assert!(device.zeros(1).is_err());
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn no_memory_is_left() {
    let bounds = Bounds {
        memory: 10 << 20,
        ..Bounds::default()
    };
    let device = Wgpu::open_within(Which::Best, bounds).unwrap();
    let len = (4 << 20) / 4;
    let held = [device.zeros(len).unwrap(), device.zeros(len).unwrap()];
    let error = device.zeros(len).unwrap_err();
    assert!(
        matches!(error, Error::OutOfMemory { needed, .. } if needed == 4 << 20),
        "{error:?}"
    );
    assert_eq!(error.kind(), Fault::Environment);
    // What there is works on; what is given back serves others, also those of another size.
    assert_eq!(device.read(&held[0], len - 1..len).unwrap(), [0.0]);
    drop(held);
    let other = device.zeros(2 * len).unwrap();
    assert_eq!(device.read(&other, 0..3).unwrap(), [0.0; 3]);
}

/// What cannot be done is told when something is read, once.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn an_operation_that_is_refused() {
    let (device, other) = (Wgpu::open(Which::Best).unwrap(), card());
    let mut x = device.upload(&[1.0; 10]).unwrap();
    let mut foreign = other.upload(&[1.0; 10]).unwrap();
    let refused = |error: Error| {
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        assert_eq!(error.kind(), Fault::Internal);
    };
    device.add(&mut x, &foreign, 10);
    refused(device.read(&x, 0..10).unwrap_err());
    device.write(&mut foreign, 0, &[5.0]).unwrap();
    refused(device.read(&foreign, 0..10).unwrap_err());
    let y = device.upload(&[2.0; 10]).unwrap();
    device.add(&mut x, &y, 10);
    assert_eq!(device.read(&x, 0..10).unwrap(), [3.0; 10]);
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn a_card_that_is_lost() {
    let device = Wgpu::open(Which::Best).unwrap();
    let mut x = device.upload(&[1.0; 1000]).unwrap();
    let y = device.upload(&[1.0; 1000]).unwrap();
    device.add(&mut x, &y, 1000);
    device.abandon();
    device.add(&mut x, &y, 1000);
    let lost = |error: Error| {
        assert!(matches!(error, Error::Lost { .. }), "{error:?}");
        assert!(
            error.to_string().contains("resumed on the processor"),
            "{error}"
        );
    };
    // Told again and again.
    for _ in 0..2 {
        lost(device.read(&x, 0..10).unwrap_err());
        lost(device.zeros(10).unwrap_err());
        lost(device.upload(&[1.0]).unwrap_err());
        lost(device.write(&mut x, 0, &[1.0]).unwrap_err());
    }
    device.fill(&mut x, 1.0);
    drop((x, y));
    // Others stay.
    let z = card().upload(&[3.0]).unwrap();
    assert_eq!(card().read(&z, 0..1).unwrap(), [3.0]);
}
