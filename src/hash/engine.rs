//! The choice of the block function.

use std::sync::OnceLock;

use super::kernel::Kernel;
use super::slots::Shape;

/// Names the environment variable that forces an engine.
const VARIABLE: &str = "TWINFOLD_MD5";

/// Which block function runs, the slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// The scalar code of the `md-5` crate, one input after the other.
    Portable,
    /// 16 lanes in pairs of 256-bit registers.
    Avx2,
    /// 16 lanes in 512-bit registers, with three-way logic and rotations.
    Avx512,
}

impl Engine {
    /// The name by which `TWINFOLD_MD5` asks for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Portable => "portable",
            Engine::Avx2 => "avx2",
            Engine::Avx512 => "avx512",
        }
    }

    /// This engine, or the best one below it that the processor has.
    #[must_use]
    pub fn or_below(self) -> Engine {
        [Engine::Avx512, Engine::Avx2]
            .into_iter()
            .find(|&engine| engine <= self && engine.kernels().is_some())
            .unwrap_or(Engine::Portable)
    }

    /// What it runs; nothing if it is the portable one or the processor lacks
    /// its instructions.
    pub(super) fn kernels(self) -> Option<Kernels> {
        match self {
            Engine::Portable => None,
            Engine::Avx2 => Some(Kernels {
                wide: Kernel::new(Shape::Pair16)?,
                narrow: Kernel::new(Shape::Single8)?,
                vector_alone: false,
            }),
            // A step is four instructions deep there against five in scalar
            // code: vectors are ahead even with seven of eight lanes idle.
            Engine::Avx512 => Some(Kernels {
                wide: Kernel::new(Shape::Ternary16)?,
                narrow: Kernel::new(Shape::Ternary8)?,
                vector_alone: true,
            }),
        }
    }

    /// The engine of that name or the best one below it that the processor
    /// has; without a name, or with one nobody knows, the best of all.
    pub(super) fn choose(name: Option<&str>) -> Engine {
        [Engine::Portable, Engine::Avx2]
            .into_iter()
            .find(|engine| name == Some(engine.name()))
            .unwrap_or(Engine::Avx512)
            .or_below()
    }
}

/// The kernels of an engine, by the number of lanes that have work.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    /// For more lanes than `narrow` has.
    pub(super) wide: Kernel,
    /// For up to as many lanes as it has.
    pub(super) narrow: Kernel,
    /// Whether `narrow` beats the scalar code even for a single lane.
    pub(super) vector_alone: bool,
}

/// The engine of this process, chosen at the first call: the best one the
/// processor has, or what the environment variable `TWINFOLD_MD5` (`portable`,
/// `avx2`, `avx512`) asks for if the processor has that.
pub fn engine() -> Engine {
    static CHOSEN: OnceLock<Engine> = OnceLock::new();
    *CHOSEN.get_or_init(|| Engine::choose(std::env::var(VARIABLE).ok().as_deref()))
}
