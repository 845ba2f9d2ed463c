namespace Optim.Laws

open System
open Optim.Core
open Optim.Kernels

/// Arrays of numbers as tensors.
[<RequireQualifiedAccess>]
module Tensor =
    /// A tensor of its own memory with these elements in row-major order.
    let shaped (shape: int64[]) dtype (values: float[]) =
        TensorView.OfDoubles(dtype, ReadOnlySpan values, ReadOnlySpan shape)

    /// A tensor of one dimension; of a complex dtype, with two numbers for each element.
    let ofFloats dtype (values: float[]) =
        shaped [| values.LongLength / int64 (DTypes.Parts dtype) |] dtype values

    /// Writes an element of a contiguous tensor.
    let set (view: TensorView) (i: int) (value: float) =
        if view.DType = DType.Float32 then
            view.AsSpan<float32>()[i] <- float32 value
        else
            view.AsSpan<float>()[i] <- value

    /// Writes all elements of a contiguous tensor.
    let fill (view: TensorView) (values: float[]) = Array.iteri (set view) values

/// Parameters and state at one moment, copied out as numbers.
[<NoComparison; NoEquality>]
type Snapshot =
    {
        /// float32 or float64.
        DType: DType
        /// The parameters.
        Theta: float[][]
        /// The state columns; no array where a parameter has no row.
        State: (string * float[] voption[]) list
        /// The numbers kept for each parameter as a whole; NaN before its first step.
        Scalars: (string * float[]) list
        /// How many steps each parameter has taken.
        Counts: int64[]
    }

/// Reading and comparing moments.
[<RequireQualifiedAccess>]
module Snapshot =
    /// Copies parameters and state out.
    let read dtype (parameters: Parameters) (state: State) =
        let row (view: TensorView) =
            if view.IsAbsent then
                ValueNone
            else
                ValueSome(view.ToDoubles())

        {
            DType = dtype
            Theta = Array.init parameters.Count (fun k -> parameters[k].ToDoubles())
            State =
                [
                    for name in state.ColumnNames do
                        let column = state[name]
                        name, Array.init parameters.Count (fun k -> row column[k])
                ]
            Scalars =
                [
                    for name in state.ScalarNames do
                        name, Array.init parameters.Count (fun k -> state.Scalar(name, k))
                ]
            Counts = Array.init parameters.Count (fun k -> state.Count k)
        }

    /// A row of a state column; an empty array where there is none.
    let row (name: string) (parameter: int) (snapshot: Snapshot) =
        snapshot.State
        |> List.tryFind (fun (known, _) -> known = name)
        |> Option.map (fun (_, rows) -> ValueOption.defaultValue [||] rows[parameter])
        |> Option.defaultValue [||]

    /// One parameter and the state that it has.
    let only (k: int) (snapshot: Snapshot) =
        { snapshot with
            Theta = [| snapshot.Theta[k] |]
            State =
                snapshot.State
                |> List.filter (fun (_, rows) -> rows[k].IsSome)
                |> List.map (fun (name, rows) -> name, [| rows[k] |])
            Scalars = snapshot.Scalars |> List.map (fun (name, numbers) -> name, [| numbers[k] |])
            Counts = [| snapshot.Counts[k] |]
        }

    /// A number that is kept for each parameter as a whole.
    let scalar (name: string) (snapshot: Snapshot) =
        snapshot.Scalars |> List.find (fun (known, _) -> known = name) |> snd

    /// The parameters, one after the other.
    let compareTheta (comparator: Comparator) (expected: Snapshot) (actual: Snapshot) =
        Seq.zip expected.Theta actual.Theta
        |> Seq.mapi (fun k (a, b) ->
            Comparator.arrays comparator expected.DType a b
            |> Verdict.where (sprintf "parameter %d" k))
        |> Verdict.all

    /// The state: columns, rows, step counts.
    let compareState (comparator: Comparator) (expected: Snapshot) (actual: Snapshot) =
        if List.map fst expected.State <> List.map fst actual.State then
            Verdict.Broken(sprintf "columns %A instead of %A" (List.map fst actual.State) (List.map fst expected.State))
        elif expected.Counts <> actual.Counts then
            Verdict.Broken(sprintf "step counts %A instead of %A" actual.Counts expected.Counts)
        else
            let scalars =
                Seq.zip expected.Scalars actual.Scalars
                |> Seq.map (fun ((name, a), (_, b)) -> Comparator.arrays comparator DType.Float64 a b |> Verdict.where name)

            List.zip expected.State actual.State
            |> Seq.collect (fun ((name, a), (_, b)) ->
                Seq.zip a b
                |> Seq.mapi (fun k rows ->
                    match rows with
                    | ValueNone, ValueNone -> Verdict.Trivial
                    | ValueSome a, ValueSome b -> Comparator.arrays comparator expected.DType a b
                    | a, _ -> Verdict.Broken(if a.IsNone then "there, and should not be" else "not there")
                    |> Verdict.where (sprintf "%s of parameter %d" name k)))
            |> Seq.append scalars
            |> Verdict.all

    /// Parameters and state.
    let compare comparator expected actual =
        Verdict.both (compareTheta comparator expected actual) (compareState comparator expected actual)

    /// Whether any parameter is elsewhere.
    let moved (before: Snapshot) (after: Snapshot) =
        (compareTheta Comparator.bit before after).IsBroken

    /// Whether everything is finite.
    let finite (snapshot: Snapshot) =
        Seq.append snapshot.Theta (snapshot.State |> Seq.collect snd |> Seq.collect ValueOption.toList)
        |> Seq.forall (Array.forall Double.IsFinite)

/// Running scenarios.
[<RequireQualifiedAccess>]
module Run =
    /// The parameters where they start, in memory of their own.
    let parameters (s: Scenario) =
        Parameters.Of(s.Start |> Seq.map (Tensor.ofFloats s.DType))

    /// The gradients of one step.
    let gradients dtype (row: float[] voption[]) =
        Gradients.Of(
            row
            |> Seq.map (function
                | ValueNone -> Gradient.Absent
                | ValueSome values -> Gradient.OfDense(Tensor.ofFloats dtype values))
        )

    /// A scenario under way: the memory that its steps change, and the state.
    let start (subject: Subject) (s: Scenario) =
        let parameters = parameters s
        struct (parameters, subject.Init s.Options parameters)

    /// More steps from there.
    let go (subject: Subject) (options: IOptimizerOptions) dtype (parameters: Parameters) (state: State) (history: float[] voption[][]) =
        history
        |> Array.fold (fun state row -> subject.Step options parameters (gradients dtype row) state) state

    /// The end of the run.
    let final (subject: Subject) (s: Scenario) =
        let struct (parameters, state) = start subject s
        Snapshot.read s.DType parameters (go subject s.Options s.DType parameters state s.History)

    /// The beginning, and the moment after each step.
    let trace (subject: Subject) (s: Scenario) =
        let struct (parameters, state) = start subject s
        let mutable state = state

        [|
            Snapshot.read s.DType parameters state
            for row in s.History do
                state <- subject.Step s.Options parameters (gradients s.DType row) state
                Snapshot.read s.DType parameters state
        |]

    /// Whether the scenario moves anything.
    let moves (subject: Subject) (s: Scenario) =
        let now = final subject s
        now.Theta <> s.Start

    /// The scenario with other values of options.
    let withOptions (values: (string * OptionValue) list) (s: Scenario) =
        { s with
            Options = Options.set values s.Rule s.Options
        }

    /// The scenario with every gradient mapped.
    let mapGradients (change: float[] -> float[]) (s: Scenario) =
        { s with
            History = s.History |> Array.map (Array.map (ValueOption.map change))
        }

    /// Every gradient of the scenario is there, and there is an element.
    let isFull (s: Scenario) =
        s.History |> Array.forall (Array.forall _.IsSome)
        && s.Start |> Array.exists (fun values -> values.Length > 0)

/// Ways for the same elements to lie in memory.
[<RequireQualifiedAccess>]
module Memory =
    /// A matrix with these elements, in row-major order of the shape: 0 contiguous, 1 column by column, 2 with a gap after each
    /// row, 3 every second element.
    let lay (way: int) (shape: int64[]) dtype (values: float[]) =
        let rows, columns = shape[0], shape[1]

        let strides =
            match way with
            | 0 -> [| columns; 1L |]
            | 1 -> [| 1L; rows |]
            | 2 -> [| columns + 3L; 1L |]
            | _ -> [| 2L * columns; 2L |]

        let all =
            TensorView.Zeros(dtype, ReadOnlySpan [| 2L * (rows + 1L) * (columns + 3L) |])

        for i in 0 .. values.Length - 1 do
            let row, column = int64 i / columns, int64 i % columns
            Tensor.set all (int (row * strides[0] + column * strides[1])) values[i]

        TensorView(all.Address, Layout.Strided(dtype, ReadOnlySpan shape, ReadOnlySpan strides), all.Owner)

    /// A tensor that begins so many elements into its memory.
    let offset (elements: int) dtype (values: float[]) =
        let parts = DTypes.Parts dtype

        let all =
            Tensor.ofFloats dtype (Array.append (Array.zeroCreate (elements * parts)) values)

        let address = all.Address + nativeint (elements * DTypes.Size dtype)
        TensorView(address, Layout.Contiguous(dtype, ReadOnlySpan [| values.LongLength / int64 parts |]), all.Owner)

/// The steps themselves, without the rounding of the parameters that they are added to.
[<RequireQualifiedAccess>]
module Updates =
    /// For each step and parameter, what the step adds: every step begins with the parameters at zero.
    let exact (subject: Subject) (s: Scenario) =
        let struct (parameters, state) =
            Run.start
                subject
                { s with
                    Start = s.Start |> Array.map (Array.map (fun _ -> 0.0))
                }

        let mutable state = state

        [|
            for row in s.History do
                for k in 0 .. parameters.Count - 1 do
                    parameters[k].Clear()

                state <- subject.Step s.Options parameters (Run.gradients s.DType row) state
                Array.init parameters.Count (fun k -> parameters[k].ToDoubles())
        |]

    /// Updates compared step by step.
    let compare (comparator: int -> Comparator) dtype (expected: float[][][]) (actual: float[][][]) =
        Seq.zip expected actual
        |> Seq.mapi (fun t (expected, actual) ->
            Seq.zip expected actual
            |> Seq.map (fun (a, b) -> Comparator.arrays (comparator (t + 1)) dtype a b)
            |> Verdict.all
            |> Verdict.where (sprintf "update %d" (t + 1)))
        |> Verdict.all

    /// The updates, with every number mapped.
    let map (change: float -> float) (updates: float[][][]) =
        Array.map (Array.map (Array.map change)) updates

    /// Whether any update is not zero.
    let any (updates: float[][][]) =
        updates |> Array.exists (Array.exists (Array.exists (fun x -> x <> 0.0)))

/// Runs under other settings of the process, which are then as they were. Whoever uses them must have the process to himself.
[<RequireQualifiedAccess>]
module Setting =
    /// With vectors of another width.
    let withWidth (width: Width) (run: unit -> 'a) =
        let before = Lanes.Width

        try
            Lanes.Width <- width
            run ()
        finally
            Lanes.Width <- before

    /// With another number of threads.
    let withThreads (count: int) (run: unit -> 'a) =
        let before = Optim.Threads.Count

        try
            Optim.Threads.Count <- count
            run ()
        finally
            Optim.Threads.Count <- before
