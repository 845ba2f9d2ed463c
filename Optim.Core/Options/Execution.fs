namespace Optim.Core

open System

/// How a step is run. None of it changes a bit of the result.
[<StructuredFormatDisplay("{Printed}")>]
type Execution =
    {
        /// True: one flat pass over all tensors by several threads. False: tensor by tensor on the calling thread. Neither: the fastest that applies.
        Foreach: Nullable<bool>
        /// True: as foreach, which goes over each element once anyway; both cannot be True.
        Fused: Nullable<bool>
        /// Whether a step can be captured in a graph of a device, which then has its counts and numbers; refused for parameters on the CPU, as in PyTorch.
        Capturable: bool
        /// Whether a step can be differentiated.
        Differentiable: bool
        /// The numbers that a capturable step reads from tensors.
        RateTensors: RateTensors
    }

    /// The flags that are set, as PyTorch spells them; "default" where none is.
    override flags.ToString() =
        let chosen name (flag: Nullable<bool>) =
            if flag.HasValue then
                [ $"{name} = {OptionValue.Bool flag.Value}" ]
            else
                []

        let on name flag =
            if flag then [ $"{name} = True" ] else []

        let fromTensors =
            if isNull (box flags.RateTensors) || flags.RateTensors.Tensors.Count = 0 then
                []
            else
                [ $"{flags.RateTensors} from tensors" ]

        match
            chosen "foreach" flags.Foreach
            @ chosen "fused" flags.Fused
            @ on "capturable" flags.Capturable
            @ on "differentiable" flags.Differentiable
            @ fromTensors
        with
        | [] -> "default"
        | set -> String.Join(", ", set)

    member private flags.Printed = flags.ToString()

    /// Neither foreach nor fused chosen, not capturable, not differentiable.
    static member Default =
        {
            Foreach = Nullable()
            Fused = Nullable()
            Capturable = false
            Differentiable = false
            RateTensors = RateTensors.None
        }

    /// The flags, with no number that is read from a tensor.
    static member Of(``foreach``: Nullable<bool>, fused: Nullable<bool>, capturable: bool, differentiable: bool) =
        { Execution.Default with
            Foreach = ``foreach``
            Fused = fused
            Capturable = capturable
            Differentiable = differentiable
        }

/// The rows of the flags, for any record of options that has them.
type internal ExecutionFields<'o>(flags: 'o -> Execution, write: 'o -> Execution -> 'o) =
    let read options =
        let execution = flags options

        if isNull (box execution) then
            raise (OptionException("execution is null; it must be Execution.Default, or that with other flags", "execution"))

        if isNull (box execution.RateTensors) then
            raise (
                OptionException("execution has RateTensors that are null; they must be RateTensors.None, or that With others", "execution")
            )

        execution

    let set change options value =
        write options (change (read options) value)

    member _.Foreach =
        Field.choice "foreach" (fun o -> (read o).Foreach) (set (fun e v -> { e with Foreach = v }))

    member _.Fused =
        Field.choice "fused" (fun o -> (read o).Fused) (set (fun e v -> { e with Fused = v }))
        |> Field.requiring "fused and foreach cannot be True together" (fun o ->
            not ((read o).Fused.GetValueOrDefault() && (read o).Foreach.GetValueOrDefault()))
        |> Field.requiring "fused does not support differentiable" (fun o ->
            not ((read o).Fused.GetValueOrDefault() && (read o).Differentiable))

    member _.Capturable =
        { Field.flag "capturable" (fun o -> (read o).Capturable) (set (fun e v -> { e with Capturable = v })) with
            rates = ValueSome(struct ((fun o -> (read o).RateTensors), set (fun e v -> { e with RateTensors = v })))
        }

    member _.Differentiable =
        Field.flag "differentiable" (fun o -> (read o).Differentiable) (set (fun e v -> { e with Differentiable = v }))

/// The flags in a table of options.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Execution =
    /// The rows foreach, fused, capturable and differentiable, for a record that has the flags in a field.
    let fields (read: 'o -> Execution) (write: 'o -> Execution -> 'o) =
        Argument.notNull "read" read
        Argument.notNull "write" write
        let flags = ExecutionFields<'o>(read, write)
        [ flags.Foreach; flags.Fused; flags.Capturable; flags.Differentiable ]
