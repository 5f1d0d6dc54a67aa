//! The commands of a card: recorded, handed over in batches, and what is carried there and back.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindingResource, BufferBinding,
    BufferDescriptor, BufferSize, BufferUsages, CommandEncoder, CommandEncoderDescriptor,
    ComputePassDescriptor, MapMode, PollType, Queue, SubmissionIndex,
};

use super::faults::Faults;
use super::kernel::{Kernel, Kernels, PARAMETERS};
use super::memory::{Pool, Words};
use crate::{Error, Info};

/// Operations of a batch at most.
const BATCH: usize = 256;

/// Multiplications of a batch, above which it is handed over: a tenth of a second on a small card, far from where a system
/// thinks that it hangs.
const WORK: u64 = 1 << 34;

/// Batches that were handed over and may not be finished.
const IN_FLIGHT: usize = 3;

/// Bytes that are carried in one go.
const CARRY: usize = 32 << 20;

/// Bytes from one operation's parameters to the next: the most that a card may ask for.
const SLOT: usize = 256;

/// An open card.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) info: Info,
    pub(super) device: wgpu::Device,
    pub(super) queue: Queue,
    pub(super) kernels: Kernels,
    pub(super) faults: Arc<Faults>,
    pub(super) pool: Mutex<Pool>,
    /// Bytes that all buffers may have together.
    pub(super) memory: u64,
    /// Workgroups of one dimension.
    pub(super) groups: u32,
    /// The number of the batch that is recorded.
    pub(super) batch: AtomicU64,
    carried: AtomicU64,
    /// The parameters of a batch, a slot an operation.
    parameters: wgpu::Buffer,
    stream: Mutex<Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    commands: Vec<Command>,
    parameters: Vec<u8>,
    work: u64,
    /// Bytes that were written since the last batch.
    written: usize,
    in_flight: VecDeque<SubmissionIndex>,
    /// What was last read through.
    staging: Option<wgpu::Buffer>,
}

#[derive(Debug)]
enum Command {
    Run {
        kernel: Kernel,
        operands: BindGroup,
        slot: u32,
        groups: [u32; 2],
    },
    Clear {
        buffer: wgpu::Buffer,
        bytes: u64,
    },
}

/// What an operation is besides its operands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) kernel: Kernel,
    pub(super) groups: u64,
    /// Multiplications, roughly.
    pub(super) work: u64,
}

/// Workgroups in two dimensions of at most `most` each, at least as many as `groups`.
fn spread(groups: u64, most: u32) -> Option<[u32; 2]> {
    let across = groups.min(u64::from(most));
    let down = groups.div_ceil(across.max(1));
    Some([
        across.try_into().ok()?,
        u32::try_from(down).ok().filter(|down| *down <= most)?,
    ])
}

impl Card {
    pub(super) fn new(
        info: Info,
        (device, queue): (wgpu::Device, Queue),
        faults: Arc<Faults>,
        memory: u64,
    ) -> Self {
        let parameters = device.create_buffer(&BufferDescriptor {
            label: None,
            size: (BATCH * SLOT) as u64,
            usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self {
            info,
            kernels: Kernels::new(),
            faults,
            pool: Mutex::default(),
            memory,
            groups: device.limits().max_compute_workgroups_per_dimension.max(1),
            batch: AtomicU64::new(0),
            carried: AtomicU64::new(0),
            parameters,
            stream: Mutex::default(),
            device,
            queue,
        }
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }

    fn carry(&self, bytes: usize) {
        self.carried.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether words are on this card. Given those of another, the library would panic, or take what has the same number here.
    fn has(&self, words: &Words) -> bool {
        let here = words.on(self);
        if !here {
            self.faults.refuse("a buffer lies on another device");
        }
        here
    }

    /// Records an operation. Operands are bound in the order in which the program names them.
    pub(super) fn run(&self, run: Run, parameters: &[u32], operands: &[&Words]) {
        if run.groups == 0 || self.faults.alive().is_err() {
            return;
        }
        let Some(groups) = spread(run.groups, self.groups) else {
            self.faults
                .refuse(format!("{} workgroups at once", run.groups));
            return;
        };
        if !operands.iter().all(|words| self.has(words)) {
            return;
        }
        debug_assert!(parameters.len() * 4 <= PARAMETERS);
        let ready = self.kernels.get(&self.device, run.kernel);
        assert_eq!(ready.places.len(), operands.len(), "{:?}", run.kernel);
        let mut entries = vec![BindGroupEntry {
            binding: 0,
            resource: BindingResource::Buffer(BufferBinding {
                buffer: &self.parameters,
                offset: 0,
                size: BufferSize::new(PARAMETERS as u64),
            }),
        }];
        entries.extend(
            ready
                .places
                .iter()
                .zip(operands)
                .map(|(binding, words)| BindGroupEntry {
                    binding: *binding,
                    resource: BindingResource::Buffer(BufferBinding {
                        buffer: words.raw(),
                        offset: 0,
                        size: BufferSize::new(words.visible()),
                    }),
                }),
        );
        let operands = self.device.create_bind_group(&BindGroupDescriptor {
            label: None,
            layout: &ready.layout,
            entries: &entries,
        });
        let mut stream = self.stream();
        let slot = stream.parameters.len();
        stream
            .parameters
            .extend_from_slice(bytemuck::cast_slice(parameters));
        stream.parameters.resize(slot + SLOT, 0);
        stream.commands.push(Command::Run {
            kernel: run.kernel,
            operands,
            slot: u32::try_from(slot).unwrap_or_else(|_| unreachable!("a batch is small")),
            groups,
        });
        stream.work += run.work;
        if stream.commands.len() == BATCH || stream.work >= WORK {
            self.submit(&mut stream);
        }
    }

    /// Records that words become zeros.
    pub(super) fn clear(&self, words: &Words) {
        let mut stream = self.stream();
        stream.commands.push(Command::Clear {
            buffer: words.raw().clone(),
            bytes: words.visible(),
        });
        if stream.commands.len() == BATCH {
            self.submit(&mut stream);
        }
    }

    /// Hands over what is recorded and waits until all is done.
    pub(super) fn finish(&self) {
        let mut stream = self.stream();
        self.submit(&mut stream);
        stream.in_flight.clear();
        self.poll(None);
    }

    fn submit(&self, stream: &mut Stream) {
        if stream.commands.is_empty() && stream.written == 0 {
            return;
        }
        if !stream.parameters.is_empty() {
            // In the order of batches: what is written here comes behind the batch before.
            self.queue
                .write_buffer(&self.parameters, 0, &stream.parameters);
        }
        let mut encoder = self
            .device
            .create_command_encoder(&CommandEncoderDescriptor::default());
        self.encode(&mut encoder, &stream.commands);
        self.hand_over(stream, encoder);
        stream.commands.clear();
        stream.parameters.clear();
        (stream.work, stream.written) = (0, 0);
        self.batch.fetch_add(1, Ordering::AcqRel);
    }

    fn hand_over(&self, stream: &mut Stream, encoder: CommandEncoder) {
        let index = self.queue.submit([encoder.finish()]);
        stream.in_flight.push_back(index);
        while stream.in_flight.len() > IN_FLIGHT {
            let first = stream.in_flight.pop_front();
            self.poll(first);
        }
    }

    fn encode(&self, encoder: &mut CommandEncoder, commands: &[Command]) {
        let mut left = commands;
        while let Some(first) = left.first() {
            if let Command::Clear { buffer, bytes } = first {
                encoder.clear_buffer(buffer, 0, Some(*bytes));
                left = &left[1..];
                continue;
            }
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            let mut last = None;
            while let Some(Command::Run {
                kernel,
                operands,
                slot,
                groups: [across, down],
            }) = left.first()
            {
                if last.replace(*kernel) != Some(*kernel) {
                    pass.set_pipeline(&self.kernels.get(&self.device, *kernel).pipeline);
                }
                pass.set_bind_group(0, operands, &[*slot]);
                pass.dispatch_workgroups(*across, *down, 1);
                left = &left[1..];
            }
        }
    }

    /// Waits for a batch, or for all.
    pub(super) fn poll(&self, submission_index: Option<SubmissionIndex>) {
        if self.faults.alive().is_err() {
            return;
        }
        let wait = PollType::Wait {
            submission_index,
            timeout: None,
        };
        // The library panics where the driver tells it while it waits that the card is lost.
        let waited = catch_unwind(AssertUnwindSafe(|| self.device.poll(wait)));
        match waited {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.faults.refuse(error.to_string()),
            Err(_) => self
                .faults
                .lose("its driver failed while it was waited for"),
        }
    }

    /// Puts values into words, after all that was recorded before. What nobody used in this batch needs no waiting.
    pub(super) fn write(&self, words: &Words, first: usize, values: &[u32], fresh: bool) {
        if !self.has(words) {
            return;
        }
        let mut stream = self.stream();
        let used = !fresh || words.before() == Some(self.batch.load(Ordering::Acquire));
        if used && !stream.commands.is_empty() {
            self.submit(&mut stream);
        }
        self.carry(size_of_val(values));
        for (at, part) in values.chunks(CARRY / 4).enumerate() {
            let first = (first + at * (CARRY / 4)) * 4;
            self.faults.expect(size_of_val(part) as u64);
            self.queue
                .write_buffer(words.raw(), first as u64, bytemuck::cast_slice(part));
            stream.written += size_of_val(part);
            // What is written waits in memory of its own until a batch is handed over. What is recorded does not read
            // these words, so that it may go now as well as later.
            if stream.written >= CARRY {
                self.submit(&mut stream);
            }
        }
    }

    /// Words after all that was recorded before.
    pub(super) fn read(&self, words: &Words, range: Range<usize>) -> Result<Vec<u32>, Error> {
        assert!(
            range.start <= range.end && range.end <= words.len(),
            "{range:?} of {}",
            words.len()
        );
        let mut values = Vec::with_capacity(range.len());
        if !self.has(words) {
            self.faults.tell()?;
        }
        let mut stream = self.stream();
        self.submit(&mut stream);
        for first in range.clone().step_by(CARRY / 4) {
            let part = first..range.end.min(first + CARRY / 4);
            self.read_part(&mut stream, words, part, &mut values)?;
        }
        if range.is_empty() {
            self.poll(None);
        }
        self.faults.tell()?;
        self.carry(values.len() * 4);
        Ok(values)
    }

    fn read_part(
        &self,
        stream: &mut Stream,
        words: &Words,
        part: Range<usize>,
        values: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let bytes = (part.len() * 4) as u64;
        let staging = match stream.staging.take() {
            Some(staging) if staging.size() >= bytes => staging,
            _ => {
                self.faults.expect(bytes);
                self.device.create_buffer(&BufferDescriptor {
                    label: None,
                    size: bytes.next_power_of_two().max(4096),
                    usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            }
        };
        let mut encoder = self
            .device
            .create_command_encoder(&CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(
            words.raw(),
            (part.start * 4) as u64,
            &staging,
            0,
            Some(bytes),
        );
        let index = self.queue.submit([encoder.finish()]);
        stream.in_flight.clear();
        staging.map_async(MapMode::Read, 0..bytes, |_| {});
        self.poll(Some(index));
        self.faults.tell()?;
        let Ok(mapped) = staging.get_mapped_range(0..bytes) else {
            self.faults.refuse("what was to be read cannot be seen");
            return self.faults.tell();
        };
        // The mapping need not lie as numbers do.
        let words = mapped.chunks_exact(4).map(|word| {
            let word = [word[0], word[1], word[2], word[3]];
            u32::from_ne_bytes(word)
        });
        values.extend(words);
        drop(mapped);
        staging.unmap();
        stream.staging = Some(staging);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wgpu::{BufferDescriptor, BufferUsages};

    use super::spread;
    use crate::wgpu::{Bounds, Which, adapter};
    use crate::{Error, Kind};

    /// What a driver refuses is noted without a panic, told once, and no end.
    #[test]
    fn an_error_of_the_library_is_told() {
        let card = adapter::open(Which::Best, Bounds::default()).expect("mesa-vulkan-drivers");
        assert_ne!(card.info.kind, Kind::Host);
        drop(card.device.create_buffer(&BufferDescriptor {
            label: None,
            size: u64::MAX / 8 * 4,
            usage: BufferUsages::STORAGE,
            mapped_at_creation: false,
        }));
        let error = card.faults.tell().expect_err("no buffer is as large");
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        assert_eq!(card.faults.tell(), Ok(()));
    }

    #[test]
    fn workgroups_go_on_in_the_second_dimension() {
        assert_eq!(spread(7, 65_535), Some([7, 1]));
        assert_eq!(spread(65_536, 65_535), Some([65_535, 2]));
        assert_eq!(spread(1 << 32, 65_535), None);
        assert_eq!(spread(1 << 30, 65_535), Some([65_535, 16_385]));
    }
}
