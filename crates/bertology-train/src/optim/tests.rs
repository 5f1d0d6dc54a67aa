use bertology_testkit::Tensors;

use super::*;

/// Those of the file.
const ADAM: Adam = Adam {
    learning_rate: 0.05,
    beta1: 0.8,
    beta2: 0.98,
    epsilon: 1e-6,
    weight_decay: 0.1,
    amsgrad: false,
};
const SIZE: usize = 7;

fn follow<T: Real>(name: &str, schedule: Schedule, tolerance: f64) {
    let golden = Tensors::golden("probes/optim.safetensors");
    let array = |what: &str| -> Vec<T> {
        let values = golden.f64(&format!("{name}.{what}"));
        values.into_iter().map(T::from_f64).collect()
    };
    let mut values = array("before");
    let (gradients, after) = (array("gradients"), array("after"));
    let mut optimizer = Optimizer::new(ADAM, SIZE);
    let steps = gradients
        .chunks_exact(SIZE)
        .zip(after.chunks_exact(SIZE))
        .enumerate();
    assert_eq!(steps.len(), 11);
    for (step, (gradient, expected)) in steps {
        optimizer.step(&mut values, gradient, schedule.factor(step as u64));
        for (at, (found, expected)) in values.iter().zip(expected).enumerate() {
            assert!(
                (found.to_f64() - expected.to_f64()).abs() < tolerance,
                "{name} step {step} [{at}]: {found}, torch {expected}"
            );
        }
    }
}

/// Gradients of the orders 10 to 1e-6, and of 0, where there is decay alone. In f32 each of eleven steps rounds a value
/// below 3, and a step of about 0.05.
#[test]
fn steps_are_torchs_adamw() {
    let linear = Schedule::Linear {
        warmup: 3,
        total: 11,
    };
    for (name, schedule) in [("constant", Schedule::Constant), ("linear", linear)] {
        follow::<f64>(name, schedule, 1e-13);
        follow::<f32>(name, schedule, 3e-6);
    }
}

/// Gradients that shrink by half from step to step, so that the largest mean square is an early one.
#[test]
fn the_largest_mean_square_is_torchs() {
    let golden = Tensors::golden("probes/edge.safetensors");
    let adam = Adam {
        learning_rate: 0.05,
        beta1: 0.8,
        beta2: 0.9,
        epsilon: 1e-6,
        weight_decay: 0.0,
        amsgrad: true,
    };
    let mut values = golden.f64("amsgrad.before");
    let (gradients, after) = (golden.f64("amsgrad.gradients"), golden.f64("amsgrad.after"));
    let mut optimizer = Optimizer::new(adam, SIZE);
    let steps = gradients.chunks_exact(SIZE).zip(after.chunks_exact(SIZE));
    assert_eq!(steps.len(), 12);
    for (gradient, expected) in steps {
        // In two parts and at another scale, which are the same step.
        let double: Vec<f64> = gradient.iter().map(|g| 2.0 * g).collect();
        optimizer.step_by_parts(&mut values, &double, 0.5, &[(3, 0.05), (SIZE, 0.05)]);
        for (found, expected) in values.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-13,
                "{found}, torch {expected}"
            );
        }
    }
}

#[test]
fn schedules_are_transformers() {
    let golden = Tensors::golden("probes/optim.safetensors");
    for (warmup, total) in [(0, 10), (3, 10), (10, 10), (4, 4), (5, 3)] {
        let schedule = Schedule::Linear { warmup, total };
        let expected = golden.f64(&format!("factors.{warmup}.{total}"));
        assert_eq!(expected.len() as u64, total + 1);
        for (step, expected) in expected.into_iter().enumerate() {
            let found = schedule.factor(step as u64);
            assert!(
                (found - expected).abs() < 1e-15,
                "{schedule:?} {step}: {found}, transformers {expected}"
            );
        }
    }
    assert_eq!(Schedule::Constant.factor(1 << 40), 1.0);
    let beyond = Schedule::Linear {
        warmup: 2,
        total: 5,
    };
    assert_eq!(beyond.factor(6), 0.0);
}
