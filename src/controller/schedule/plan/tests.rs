//! The plan of a schedule against a small world: clocks, absences, limits, and a death between any two steps.

mod runs;
mod standing;
mod world;
