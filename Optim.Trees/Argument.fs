namespace Optim.Core

open System
open Optim.Kernels

/// Arguments that must be there: F# knows no null, but its functions are called from other languages, too.
module internal Argument =
    /// Refuses null, naming the argument.
    let notNull (name: string) (value: 'a) =
        if isNull (box value) then
            raise (ArgumentNullException name)

    /// The items of a sequence, neither of which may be null.
    let items (name: string) (values: 'a seq) : 'a array =
        notNull name values
        let items = Seq.toArray values

        if not typeof<'a>.IsValueType then
            for i in 0 .. items.Length - 1 do
                if isNull (box items[i]) then
                    raise (ArgumentException($"{name}[{i}] is null", name))

        items

    /// Refuses a tensor that is absent.
    let present (name: string) (view: TensorView) =
        if view.IsAbsent then
            raise (ArgumentException("the tensor is absent (a default TensorView)", name))

    /// Refuses an index that is not one of so many.
    let index (name: string) (index: int) (count: int) =
        if uint32 index >= uint32 count then
            raise (ArgumentOutOfRangeException(name, index, $"there are {count}, counted from 0"))
