namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// A run of a definition over whole tensors: what it declares, and where it finds tensors.
[<AbstractClass>]
type internal WholeRun() =
    /// The value of an option, which may be declared by it.
    abstract Option: name: string * declare: (unit -> DefinedOption) -> OptionValue
    abstract Parameter: WholeTensor
    abstract Gradient: WholeTensor
    abstract Shape: ImmutableArray<int64>
    abstract Step: int64
    /// A column of a shape.
    abstract Column: name: string * shape: ImmutableArray<int64> -> WholeTensor
    abstract Set: name: string * value: WholeTensor -> unit
    /// The sum over the elements of all parameters that step together.
    abstract SumOverAll: value: WholeTensor -> WholeTensor
    abstract Require: option: string * holds: bool * words: string -> unit
    abstract OptOut: law: string * reason: string -> unit

/// What the definition of a rule over whole tensors is written with: it declares options and state, and hands out tensors, on which it computes.
/// The definition returns the parameter after the step. It is run for each parameter in each step, with numbers as they are; when the rule is made it is
/// run on shapes alone. Options are declared before anything that depends on the parameter's shape.
[<Sealed>]
type WholeDefinition internal (run: WholeRun, isUphill: bool) =
    let gradient = lazy (if isUphill then -run.Gradient else run.Gradient)

    let number value =
        match value with
        | OptionValue.Float number -> number
        | OptionValue.Int number -> double number
        | _ -> nan

    let declare name value kind () : DefinedOption =
        {
            Name = name
            Default = value
            Kind = kind
            Numbers = []
        }

    internal new(run) = WholeDefinition(run, false)

    /// What a definition says with an option by which it goes up the gradient: it is given the negated one.
    member internal r.EitherWay(definition: WholeDefinition -> WholeTensor) =
        if r.Flag(DefinedOption.Maximize, false) then
            definition (WholeDefinition(run, true))
        else
            definition r

    /// An option that is a number in a range.
    member _.Number(name: string, value: double, range: Interval) : double =
        run.Option(name, declare name (OptionValue.Float value) (Number range))
        |> number

    /// An option that is a number in a range, or None.
    member _.NumberOrNone(name: string, value: Nullable<double>, range: Interval) : Nullable<double> =
        let value =
            if value.HasValue then
                OptionValue.Float value.Value
            else
                OptionValue.None

        match run.Option(name, declare name value (NumberOr(OptionValue.None, range))) with
        | OptionValue.None -> Nullable()
        | value -> Nullable(number value)

    /// An option that is a whole number in a range.
    member _.Whole(name: string, value: int, range: Interval) : int =
        run.Option(name, declare name (OptionValue.Int(int64 value)) (Whole range))
        |> number
        |> int

    /// An option that is two numbers, each in a range of its own, such as betas.
    member _.Pair(name: string, first: double, firstRange: Interval, second: double, secondRange: Interval) : struct (double * double) =
        let value =
            OptionValue.TupleOf [ OptionValue.Float first; OptionValue.Float second ]

        match run.Option(name, declare name value (Several [ firstRange; secondRange ])) with
        | OptionValue.Tuple(Items [ a; b ]) -> struct (number a, number b)
        | _ -> struct (nan, nan)

    /// An option that is three numbers, each in a range of its own.
    member _.Triple
        (name: string, first: double, firstRange: Interval, second: double, secondRange: Interval, third: double, thirdRange: Interval)
        : struct (double * double * double) =
        let value =
            OptionValue.TupleOf [ OptionValue.Float first; OptionValue.Float second; OptionValue.Float third ]

        match run.Option(name, declare name value (Several [ firstRange; secondRange; thirdRange ])) with
        | OptionValue.Tuple(Items [ a; b; c ]) -> struct (number a, number b, number c)
        | _ -> struct (nan, nan, nan)

    /// An option that is two numbers, each in a range of its own, or None, which it is by default.
    member _.PairOrNone(name: string, firstRange: Interval, secondRange: Interval) : Nullable<struct (double * double)> =
        match run.Option(name, declare name OptionValue.None (SeveralOrNone [ firstRange; secondRange ])) with
        | OptionValue.Tuple(Items [ a; b ]) -> Nullable(struct (number a, number b))
        | _ -> Nullable()

    /// An option that is true or false.
    member _.Flag(name: string, value: bool) : bool =
        run.Option(name, declare name (OptionValue.Bool value) Switch) = OptionValue.Bool true

    /// An option that is one of some names; "" is None.
    member _.Choice(name: string, value: string, [<ParamArray>] values: string array) : string =
        let named text =
            if text = "" then
                OptionValue.None
            else
                OptionValue.Text text

        match run.Option(name, (fun () -> declare name (named value) (OneOf [ for value in values -> named value ]) ())) with
        | OptionValue.Text text -> text
        | _ -> ""

    /// A condition that an option puts on the others: where it does not hold, options are refused with these words after the value.
    member _.Require(option: string, holds: bool, words: string) : unit = run.Require(option, holds, words)

    /// The parameter before the step.
    member _.Parameter: WholeTensor = run.Parameter
    /// Its gradient.
    member _.Gradient: WholeTensor = gradient.Value
    /// The parameter's own shape: empty for a number, which counts as a vector of one element otherwise.
    member _.Shape: ImmutableArray<int64> = run.Shape
    /// How many dimensions the parameter has.
    member _.Rank: int = run.Shape.Length
    /// The step, counted from 1 for each parameter by itself.
    member _.Step: int64 = run.Step
    /// Whether it is the parameter's first step.
    member _.IsFirst: bool = (run.Step = 1L)

    /// What a moment that began at 0 is divided by: 1 - beta^step.
    member _.Correction(beta: double) : double = 1.0 - Math.Pow(beta, double run.Step)

    /// A state column of the parameter's shape: its elements before the step, 0 before the first one.
    member _.Column(name: string) : WholeTensor = run.Column(name, run.Shape)

    /// A state column of a shape of its own: its elements before the step, 0 before the first one.
    member _.Column(name: string, shape: int64 seq) : WholeTensor =
        run.Column(name, ImmutableArray.CreateRange shape)

    /// A state column of a shape of its own, which begins as it is told here.
    member r.Column(name: string, shape: int64 seq, start: Func<WholeTensor>) : WholeTensor =
        Argument.notNull "start" start
        let column = r.Column(name, shape)
        if r.IsFirst then start.Invoke() else column

    /// A state column of the parameter's shape, which begins as it is told here.
    member r.Column(name: string, start: Func<WholeTensor>) : WholeTensor =
        r.Column(name, (run.Shape :> int64 seq), start)

    /// What becomes of a column. The tensor of it stays what it was before the step.
    member _.Set(name: string, value: WholeTensor) : unit =
        Argument.notNull "name" name
        Argument.notNull "value" value
        run.Set(name, value)

    /// The sum over the elements of all parameters that step together, which are those of a group. Definitions that ask for it are run twice in each
    /// step: once for sums alone. On other devices than the processor they are refused.
    member _.SumOverAll(value: WholeTensor) : WholeTensor =
        Argument.notNull "value" value
        run.SumOverAll value

    /// Declares that a law of Optim.Laws does not hold for the rule, by its id, and why: the reason is printed.
    member _.OptOut(law: string, reason: string) : unit = run.OptOut(law, reason)

/// Functions of whole tensors, for definitions in F#: open it where a rule is defined. Operators, sqrt, abs, exp, log and ** are the usual ones.
module Wholes =
    /// 1, -1 or 0 for each element; 0 for NaN.
    let signs (value: WholeTensor) = WholeTensor.Signs value
    /// The larger of each element and a number.
    let atLeast (bound: double) (value: WholeTensor) = WholeTensor.Max(value, bound)
    /// The larger ones.
    let larger (a: WholeTensor) (b: WholeTensor) = WholeTensor.Max(a, b)
    /// The smaller ones.
    let smaller (a: WholeTensor) (b: WholeTensor) = WholeTensor.Min(a, b)

    /// The Euclidean norm of all elements.
    let norm (value: WholeTensor) =
        Argument.notNull "value" value
        value.Norm()

    /// The root of the mean square of all elements.
    let rms (value: WholeTensor) =
        Argument.notNull "value" value
        value.RootMeanSquare()

    /// The product of two matrices.
    let (@.) (left: WholeTensor) (right: WholeTensor) = WholeTensor.Product(left, right)

    /// A matrix with rows and columns exchanged.
    let transposed (matrix: WholeTensor) =
        Argument.notNull "matrix" matrix
        matrix.Transposed
