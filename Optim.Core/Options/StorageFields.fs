namespace Optim.Core

open Optim

/// How state is kept, among the options of a rule.
module internal StorageFields =
    /// The name of the format.
    let format = "state_storage"
    /// The name of the elements from which a parameter has narrow state.
    let minimum = "state_storage_minimum"

    /// The storage in the options of a table; float32 where it has none.
    let ofTable (table: OptionTable) (options: IOptimizerOptions) : StateStorage =
        if not (table.Has format) then
            StateStorage.Float32
        else
            let number =
                match table.Read(options, minimum) with
                | OptionValue.Int number -> int number
                | _ -> StateStorage.DefaultMinimum

            let text = string (table.Read(options, format))

            [ StateFormat.BFloat16; StateFormat.Blockwise8 ]
            |> List.tryFind (fun format -> StateStorage.NameOf format = text)
            |> Option.defaultValue StateFormat.Float32
            |> fun format -> StateStorage.Of(format, number)
