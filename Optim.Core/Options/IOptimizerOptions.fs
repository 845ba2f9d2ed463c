namespace Optim.Core

/// What every record of options is, AdamOptions and those of rules of your own. It asks for nothing: it tells options from other values.
/// In F# <c>interface IOptimizerOptions</c> ends the record, in C# <c>record Options(...) : IOptimizerOptions</c>.
type IOptimizerOptions = interface end
