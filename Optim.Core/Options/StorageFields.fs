namespace Optim.Core

/// How state is kept, among the options of a rule. These are found by name, and are not among the names of options: they change no formula, and
/// a state dict does not bring them along.
module internal StorageFields =
    /// The name of the format.
    let format = "state_storage"
    /// The name of the elements from which a parameter has narrow state.
    let minimum = "state_storage_minimum"
    /// The name of the seed of the rounding.
    let seed = "state_storage_seed"

    /// The names of all of them.
    let names = [ format; minimum; seed ]

    /// Whether an option is one of them.
    let has (option: string) = List.contains option names
