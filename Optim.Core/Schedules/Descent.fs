namespace Optim.Core

/// How a curve goes from one value to another.
type Anneal =
    /// Along half a cosine.
    | Cosine = 0
    /// In a straight line.
    | Linear = 1

/// The shape of a way down from 1 to 0, over a part q of it from 0 to 1. A way up is the same, backwards.
type Descent =
    /// In a straight line: 1 - q.
    | Linear = 0
    /// Along half a cosine: (1 + cos(pi q)) / 2.
    | Cosine = 1
    /// With the root: 1 - sqrt(q).
    | OneMinusSqrt = 2
    /// With a power: 1 - q^power.
    | Power = 3
    /// Exponentially: (r^q - r) / (1 - r), r a ratio.
    | Exponential = 4
