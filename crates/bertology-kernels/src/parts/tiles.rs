//! Products of bf16 pairs by tiles of 16 rows of 16 pairs, as the matrix units of Intel processors compute them (AMX; Intel
//! Architecture Software Developer's Manual, volume 1, chapter 18, and `TDPBF16PS`).

use super::{Factors, Unit};

/// Rows of a tile, columns of its 32-bit numbers.
const SIDE: usize = 16;
const ROWS: usize = 2 * SIDE;
const WIDTH: usize = 2 * SIDE;
/// Of 32-bit numbers.
const BYTES: usize = 4;

/// Eight tiles and what can be done with them; `T`, `C`, `A` and `B` are their numbers.
pub(super) trait Tiles {
    fn zero<const T: usize>(&mut self);

    /// Rows of the tile from rows of memory, `stride` numbers apart.
    ///
    /// # Panics
    /// If there are not sixteen.
    fn load<const T: usize>(&mut self, from: &[u32], stride: usize);

    /// Rows of the tile to rows of memory.
    ///
    /// # Panics
    /// If there is no place.
    fn store<const T: usize>(&mut self, to: &mut [f32], stride: usize);

    /// `C [16, 16] += A · B`: f32 from pairs of bf16, `A [16, 16 pairs]`, `B [16 pairs, 16]`.
    fn multiply<const C: usize, const A: usize, const B: usize>(&mut self);
}

/// Whether memory has a tile's rows.
fn holds(len: usize, stride: usize) -> bool {
    len >= (SIDE - 1) * stride + SIDE
}

/// Two by two tiles of sums, in the registers 0 to 3; their rows in 4 and 5, their columns in 6 and 7.
pub(super) struct ByTiles<T>(pub(super) T);

impl<T: Tiles> ByTiles<T> {
    fn rows(&mut self, from: &[u32], stride: usize, lower: bool) {
        self.0.load::<4>(from, stride);
        if lower {
            self.0.load::<5>(&from[SIDE * stride..], stride);
        }
    }

    fn columns(&mut self, from: &[u32]) {
        self.0.load::<6>(from, WIDTH);
        self.0.load::<7>(&from[SIDE..], WIDTH);
    }

    fn multiply(&mut self, lower: bool) {
        self.0.multiply::<0, 4, 6>();
        self.0.multiply::<1, 4, 7>();
        if lower {
            self.0.multiply::<2, 5, 6>();
            self.0.multiply::<3, 5, 7>();
        }
    }
}

impl<T: Tiles> Unit for ByTiles<T> {
    const ROWS: usize = ROWS;
    const WIDTH: usize = WIDTH;

    fn tile(&mut self, factors: &Factors<'_>, used: usize, out: &mut [f32]) {
        let stride = factors.stride;
        let lower = used > SIDE;
        let ([high, low], [high_panel, low_panel]) = (factors.rows, factors.panel);
        self.0.zero::<0>();
        self.0.zero::<1>();
        self.0.zero::<2>();
        self.0.zero::<3>();
        for pair in (0..factors.pairs).step_by(SIDE) {
            self.columns(&high_panel[pair * WIDTH..]);
            if !low_panel.is_empty() {
                // What lies in a register is used twice: eight loads for twelve products.
                self.rows(&low[pair..], stride, lower);
                self.multiply(lower);
                self.rows(&high[pair..], stride, lower);
                self.multiply(lower);
                self.columns(&low_panel[pair * WIDTH..]);
            } else {
                self.rows(&high[pair..], stride, lower);
            }
            self.multiply(lower);
        }
        self.0.store::<0>(out, WIDTH);
        self.0.store::<1>(&mut out[SIDE..], WIDTH);
        self.0.store::<2>(&mut out[SIDE * WIDTH..], WIDTH);
        self.0.store::<3>(&mut out[SIDE * WIDTH + SIDE..], WIDTH);
    }
}

#[cfg(target_os = "linux")]
pub(super) use unit::Amx;

/// The unit itself, by its instructions: Rust has no functions for them yet.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "instructions that the compiler does not know")]
mod unit {
    use std::arch::asm;
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    use std::sync::OnceLock;

    use super::super::{Factors, Unit as _};
    use super::{BYTES, ByTiles, ROWS, SIDE, Tiles, WIDTH, holds};

    /// The tiles of this thread, until it is dropped. They belong to the thread: it is not sent.
    pub(in super::super) struct Amx(std::marker::PhantomData<*const ()>);

    /// What `ldtilecfg` reads: palette 1, eight tiles of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct Configuration([u8; 64]);

    const CONFIGURATION: Configuration = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            bytes[16 + 2 * tile] = (SIDE * BYTES) as u8;
            bytes[48 + tile] = SIDE as u8;
            tile += 1;
        }
        Configuration(bytes)
    };

    impl Amx {
        /// The tiles of this thread; nothing where processor or system have none.
        pub(in super::super) fn begin() -> Option<Self> {
            static THERE: OnceLock<bool> = OnceLock::new();
            let there =
                *THERE.get_or_init(|| exists() && permitted() && Self::configured().works());
            there.then(Self::configured)
        }

        fn configured() -> Self {
            // SAFETY: the processor has tiles and the system permits them; what is read lives.
            unsafe {
                asm!("ldtilecfg [{}]", in(reg) CONFIGURATION.0.as_ptr(), options(nostack, preserves_flags));
            }
            Self(std::marker::PhantomData)
        }

        /// Whether whole numbers are multiplied as they should be: a virtual machine may say that it has what it has not.
        fn works(self) -> bool {
            let value = |at: usize| (at * 29 % 13) as f32 - 6.0;
            let pair = |at: usize| (value(2 * at).to_bits() >> 16) | value(2 * at + 1).to_bits();
            let rows: Vec<u32> = (0..ROWS * SIDE).map(pair).collect();
            let panel: Vec<u32> = (0..SIDE * WIDTH).map(|at| pair(at + 3)).collect();
            let factors = Factors {
                rows: [&rows, &rows],
                stride: SIDE,
                panel: [&panel, &panel],
                pairs: SIDE,
            };
            let mut out = [0.0; ROWS * WIDTH];
            ByTiles(self).tile(&factors, ROWS, &mut out);
            out.iter().enumerate().all(|(at, got)| {
                let (row, column) = (at / WIDTH, at % WIDTH);
                let products = (0..SIDE).map(|p| {
                    let (a, b) = (2 * (row * SIDE + p), 2 * (p * WIDTH + column + 3));
                    value(a) * value(b) + value(a + 1) * value(b + 1)
                });
                *got == 3.0 * products.sum::<f32>()
            })
        }
    }

    impl Drop for Amx {
        fn drop(&mut self) {
            // SAFETY: tiles are configured; nobody else uses them.
            unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
        }
    }

    /// Whether the processor says that it has tiles and multiplies bf16.
    fn exists() -> bool {
        const BF16_AND_TILES: u32 = 1 << 22 | 1 << 24;
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & BF16_AND_TILES == BF16_AND_TILES
    }

    /// Asks Linux to keep the tiles of this process's threads (`arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`).
    fn permitted() -> bool {
        const REQUEST: libc::c_long = 0x1023;
        const TILE_DATA: libc::c_long = 18;
        // SAFETY: changes nothing but what the system saves of a thread.
        unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
    }

    impl Tiles for Amx {
        #[inline(always)]
        fn zero<const T: usize>(&mut self) {
            // SAFETY: the tiles are configured.
            unsafe {
                asm!("tilezero tmm{t}", t = const T, options(nomem, nostack, preserves_flags))
            };
        }

        #[inline(always)]
        fn load<const T: usize>(&mut self, from: &[u32], stride: usize) {
            assert!(holds(from.len(), stride));
            // SAFETY: the tiles are configured, and the memory has sixteen rows.
            unsafe {
                asm!(
                    "tileloadd tmm{t}, [{from} + {stride}*1]",
                    t = const T,
                    from = in(reg) from.as_ptr(),
                    stride = in(reg) BYTES * stride,
                    options(readonly, nostack, preserves_flags),
                );
            }
        }

        #[inline(always)]
        fn store<const T: usize>(&mut self, to: &mut [f32], stride: usize) {
            assert!(holds(to.len(), stride));
            // SAFETY: the tiles are configured, and the memory has place for sixteen rows.
            unsafe {
                asm!(
                    "tilestored [{to} + {stride}*1], tmm{t}",
                    t = const T,
                    to = in(reg) to.as_mut_ptr(),
                    stride = in(reg) BYTES * stride,
                    options(nostack, preserves_flags),
                );
            }
        }

        #[inline(always)]
        fn multiply<const C: usize, const A: usize, const B: usize>(&mut self) {
            // SAFETY: the tiles are configured.
            unsafe {
                asm!(
                    "tdpbf16ps tmm{c}, tmm{a}, tmm{b}",
                    c = const C,
                    a = const A,
                    b = const B,
                    options(nomem, nostack, preserves_flags),
                );
            }
        }
    }
}

/// The tiles in software: their numbers, and what the instructions do with them.
#[cfg(test)]
pub(super) struct Software {
    tiles: [[[u32; SIDE]; SIDE]; 8],
    /// Products of tiles done.
    pub(super) products: usize,
    /// Loads done.
    pub(super) loads: usize,
}

#[cfg(test)]
impl Software {
    pub(super) fn new() -> Self {
        // Whoever does not begin with zeros is found.
        let nan = f32::NAN.to_bits();
        Self {
            tiles: [[[nan; SIDE]; SIDE]; 8],
            products: 0,
            loads: 0,
        }
    }
}

#[cfg(test)]
impl Tiles for Software {
    fn zero<const T: usize>(&mut self) {
        self.tiles[T] = [[0; SIDE]; SIDE];
    }

    fn load<const T: usize>(&mut self, from: &[u32], stride: usize) {
        assert!(holds(from.len(), stride));
        self.loads += 1;
        for (row, tile) in self.tiles[T].iter_mut().enumerate() {
            tile.copy_from_slice(&from[row * stride..][..SIDE]);
        }
    }

    fn store<const T: usize>(&mut self, to: &mut [f32], stride: usize) {
        assert!(holds(to.len(), stride));
        for (row, tile) in self.tiles[T].iter().enumerate() {
            to[row * stride..][..SIDE].copy_from_slice(&tile.map(f32::from_bits));
        }
    }

    /// Sums of the first and of the second terms by themselves, then together, then to what is there.
    fn multiply<const C: usize, const A: usize, const B: usize>(&mut self) {
        self.products += 1;
        let first = |pair: u32| f32::from_bits(pair << 16);
        let second = |pair: u32| f32::from_bits(pair & 0xffff_0000);
        for m in 0..SIDE {
            for n in 0..SIDE {
                let mut sums = [0.0f32; 2];
                for k in 0..SIDE {
                    let (a, b) = (self.tiles[A][m][k], self.tiles[B][k][n]);
                    sums[0] = first(a).mul_add(first(b), sums[0]);
                    sums[1] = second(a).mul_add(second(b), sums[1]);
                }
                let sum = f32::from_bits(self.tiles[C][m][n]) + (sums[0] + sums[1]);
                self.tiles[C][m][n] = sum.to_bits();
            }
        }
    }
}
