namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// What a user does with an optimizer. Numbers choose among what there is, counted round.
[<RequireQualifiedAccess>]
[<NoComparison>]
type Command =
    /// Gives a parameter a gradient, or takes it away.
    | SetGradient of parameter: int * value: float voption
    /// Drops all gradients, or sets them to zero.
    | ZeroGrad of toNone: bool
    /// A step.
    | Step
    /// A step whose closure gives a parameter a gradient.
    | StepWith of parameter: int * value: float
    /// Sets an option of a group to one of its edges.
    | SetOption of group: int * option: int * value: int
    /// Chooses for-loop, foreach or fused for a group.
    | Traverse of group: int * way: int
    /// Adds a group of one parameter with so many elements.
    | AddGroup of elements: int
    /// Freezes a parameter, or thaws it.
    | Freeze of parameter: int * frozen: bool
    /// Keeps the state dict.
    | Save
    /// Loads one of those kept.
    | Load of kept: int
    /// Registers a hook.
    | AddHook of Hook
    /// Removes one.
    | RemoveHook of int
    /// Another number of threads.
    | Threads of int

/// The model that an optimizer is held against: groups of options, parameters and states that only the pure step changes.
module internal Model =
    /// A group as the model has it. Nothing in it is ever written to.
    type Group =
        {
            Options: IOptimizerOptions
            Theta: Parameters
            State: State
            Gradients: float[] voption[]
            Frozen: bool[]
        }

    /// The whole optimizer.
    type Model =
        {
            Groups: Group list
            Kept: (IOptimizerOptions * State) list list
            Hooks: (int * Hook) list
            Trace: string list
        }

    /// All parameters are of it.
    let dtype = DType.Float32

    /// Where a parameter starts.
    let initial (group: int) (elements: int) =
        Array.init elements (fun i -> 0.5 * float (i - 2) + float group)

    /// A gradient that a number stands for.
    let values (elements: int) (value: float) =
        Array.init elements (fun i -> value * (1.0 - 0.375 * float i))

    /// A group of one parameter.
    let newGroup (rule: Rule) options number elements =
        let theta = Parameters.Of [ Tensor.ofFloats dtype (initial number elements) ]

        {
            Options = options
            Theta = theta
            State = rule.Init(options, theta)
            Gradients = [| ValueNone |]
            Frozen = [| false |]
        }

    /// Every group of the machine has one parameter: parameter and group have the same number.
    let at (index: int) (list: 'a list) = index % list.Length

    /// One group changed.
    let update index change (model: Model) =
        let i = at index model.Groups

        { model with
            Groups = List.updateAt i (change model.Groups[i]) model.Groups
        }

    /// The elements of its parameter.
    let elements (group: Group) = int group.Theta[0].Count

    /// One step of all groups.
    let stepAll (rule: Rule) (model: Model) =
        let step (group: Group) =
            let row = if group.Frozen[0] then [| ValueNone |] else group.Gradients

            let struct (theta, state) =
                rule.PureStep(group.Options, group.Theta, Run.gradients dtype row, group.State)

            { group with
                Theta = theta
                State = state
            }

        let names kind =
            model.Hooks
            |> List.filter (fun (_, hook) -> hook = kind)
            |> List.map (fun (id, _) -> string id)

        { model with
            Groups = List.map step model.Groups
            Trace =
                model.Trace
                @ List.collect names [ Hook.EveryPre; Hook.Pre; Hook.Post; Hook.EveryPost ]
        }

    /// The options that a command may set, and their values.
    let settable (rule: Rule) =
        Options.edges |> List.filter (fun (name, _) -> Options.has name rule)
