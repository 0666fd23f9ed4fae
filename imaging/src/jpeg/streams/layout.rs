//! What the blocks of a scan are: which tables each has, and how much of it is kept.

use super::super::{
    Damage, JpegError,
    codes::{Codes, HuffmanSpec},
    header::{Frame, Scan, Tables},
    scan::Geometry,
    transform::{Sides, last_of_corner, last_of_triangle},
};

/// Pairs of a DC and an AC table that a scan may have; there are four slots of each (T.81 section
/// B.2.4.2).
pub(super) const MAX_PAIRS: usize = 4;

/// Which coefficients of a block are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The mean.
    Mean,
    /// And the horizontal slope.
    Pair,
    /// And both slopes.
    Slopes,
    /// The lowest 2 × 2.
    Four,
    /// The first six in zigzag order.
    Six,
}

impl Kept {
    /// None where so much is kept that finding the blocks first does not pay.
    pub(super) fn of(Sides { wide, high, last }: Sides) -> Option<Self> {
        const LAST_OF_3: usize = last_of_triangle(2);
        const LAST_OF_4: usize = last_of_corner(2, 2);
        const LAST_OF_6: usize = last_of_triangle(3);
        match (wide, high, last) {
            (1, 1, _) => Some(Self::Mean),
            (2, 1, _) => Some(Self::Pair),
            (2, 2, LAST_OF_3) => Some(Self::Slopes),
            (2, 2, LAST_OF_4) => Some(Self::Four),
            (3, 3, LAST_OF_6) => Some(Self::Six),
            _ => None,
        }
    }

    /// The numbers that a block takes. Of the eight of six coefficients, the last is for those that
    /// are not kept.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Mean => 1,
            Self::Pair => 2,
            Self::Slopes => 3,
            Self::Four => 4,
            Self::Six => 8,
        }
    }
}

/// A block of the unit.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub(super) kept: Kept,
    /// Where in a unit's numbers those of this block are.
    pub(super) offset: usize,
    /// Which of [`Layout::pairs`] it is coded with.
    pub(super) pair: usize,
    /// The first phase after which the same tables and the same kept values follow.
    /// Phases of one class cannot be told apart, and need not be.
    pub(super) class: usize,
}

/// The tables of DC and AC codes that a block is coded with.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) dc: Codes,
    pub(super) ac: Codes,
}

/// How a scan's blocks follow each other.
pub(super) struct Layout {
    /// The blocks of a unit (an MCU), in their order.
    pub(super) phases: Vec<Phase>,
    pub(super) pairs: Vec<Pair>,
    /// The numbers that a unit takes.
    pub(super) unit_len: usize,
    /// Units of the scan.
    pub(super) units: usize,
}

impl Layout {
    /// None for a scan that is left to the serial decoder.
    pub(super) fn new(
        frame: &Frame,
        scan: &Scan,
        tables: &Tables,
        geometry: &Geometry,
        sides: &[Sides],
    ) -> Result<Option<Self>, JpegError> {
        let mut specs: Vec<(&HuffmanSpec, &HuffmanSpec)> = Vec::new();
        let (mut phases, mut offset) = (Vec::new(), 0);
        for (component, blocks) in scan.components.iter().zip(&geometry.components) {
            let Some(kept) = Kept::of(sides[component.index]) else { return Ok(None) };
            let spec = (tables.dc(component.dc)?, tables.ac(component.ac)?);
            let known = specs.iter().position(|other| *other == spec);
            let pair = known.unwrap_or(specs.len());
            if known.is_none() {
                specs.push(spec);
            }
            for _ in 0..blocks.horizontal * blocks.vertical {
                phases.push(Phase { kept, offset, pair, class: 0 });
                offset += kept.len();
            }
        }
        let are_sizes = |(dc, _): &(&HuffmanSpec, _)| dc.symbols().iter().all(|&size| size < 16);
        if specs.len() > MAX_PAIRS || !specs.iter().all(are_sizes) || frame.components.is_empty() {
            return Ok(None);
        }
        classify(&mut phases);
        let pair = |(dc, ac): &(&HuffmanSpec, &HuffmanSpec)| {
            let codes = |spec| Codes::new(spec, Damage::Refused);
            Ok(Pair { dc: codes(dc)?, ac: codes(ac)? })
        };
        let pairs = specs.iter().map(pair).collect::<Result<_, JpegError>>()?;
        Ok(Some(Self {
            phases,
            pairs,
            unit_len: offset,
            units: geometry.units_wide * geometry.units_high,
        }))
    }

    /// Where the numbers of a block are, counted from the first of a unit.
    pub(super) fn place(&self, block: usize) -> usize {
        let phases = self.phases.len();
        block / phases * self.unit_len + self.phases[block % phases].offset
    }

    /// Where they are when the first block may be any of a unit's.
    pub(super) fn blocks(&self) -> usize {
        self.units * self.phases.len()
    }
}

fn classify(phases: &mut [Phase]) {
    let count = phases.len();
    let is_same = |one: usize, other: usize| {
        (0..count).all(|step| {
            let (one, other) = (&phases[(one + step) % count], &phases[(other + step) % count]);
            (one.pair, one.kept) == (other.pair, other.kept)
        })
    };
    let classes: Vec<usize> = (0..count)
        .map(|phase| (0..phase).find(|&other| is_same(phase, other)).unwrap_or(phase))
        .collect();
    for (phase, class) in phases.iter_mut().zip(classes) {
        phase.class = class;
    }
}
