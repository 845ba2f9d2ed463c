namespace Optim.Core

open System
open System.Collections.Generic
open Optim
open Optim.Kernels

/// A rule whose steps are programs: those that kernels of devices run.
type internal IRecorded =
    /// The program of a step, counted from 1; of parameters of the first kind where there are several.
    abstract Recorded: options: IOptimizerOptions * step: int64 -> StepProgram

/// A rule whose formula is another one in early steps than in late ones.
type internal IPhased =
    /// Whether it is.
    abstract HasPhases: bool

    /// Above 0 in late steps.
    abstract Phase<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> ValueType and 'n :> IScalar<'n>> :
        options: IOptimizerOptions * read: Reader<'n> * step: StepNumber<'n> -> 'n

    /// Options under which steps from 2 to 4 are early, and those from 64 late.
    abstract WithBothPhases: options: IOptimizerOptions -> IOptimizerOptions

/// A step of a rule, to be recorded.
[<Sealed>]
type internal RuleRecording(rule: Rule, options: IOptimizerOptions) =
    inherit FormulaRecording()

    override _.Run<'v, 'n
        when 'v: struct
        and 'v: (new: unit -> 'v)
        and 'v :> ValueType
        and 'v :> ILane<'v>
        and 'v :> ITakes<'v, 'n>
        and 'n: struct
        and 'n: (new: unit -> 'n)
        and 'n :> ValueType
        and 'n :> IScalar<'n>>
        (read: Reader<'n>, step: StepNumber<'n>, scalars: Scalars<'n>, row: 'v array)
        =
        rule.Update<'v, 'n>(options, read, step, scalars, row)

/// Steps of rules that work element by element, as expressions of their options, recorded from their own formulas.
module internal StepRecording =
    /// Options by their names.
    let private reader =
        { new Reader<RecordedNumber>() with
            member _.Of(name, _) =
                RecordedNumber(Expression.Named(Operation.Option, name))
        }

    /// A step like one of some count: what depends on it is a number of the program.
    let private stepLike (count: int64) =
        StepNumber<RecordedNumber>(count, RecordedNumber Expression.StepCount)

    /// Far enough that nothing is special about the first steps.
    let private late = 1_000_003L

    let arraysOf (rule: Rule) =
        StepProgram.Parameter :: StepProgram.Gradient :: List.ofSeq rule.ColumnNames

    let private recordStep (rule: Rule) (options: IOptimizerOptions) (step: StepNumber<RecordedNumber>) =
        let arrays = arraysOf rule
        let row = Array.zeroCreate<Recorder>(max 8 arrays.Length)
        arrays |> List.iteri (fun i name -> row[i] <- Recorder(Expression.Input name))
        let before = row |> Array.map _.Expression

        let kept =
            [|
                for name in rule.ScalarNames -> RecordedNumber(Expression.Named(Operation.Kept, name))
            |]

        let scalars =
            RuleRecording(rule, options).Record(reader, step, Scalars<RecordedNumber>(ReadOnlySpan kept), row)

        let assignments =
            [
                for i, name in List.indexed arrays do
                    if i <> 1 && not (obj.ReferenceEquals(row[i].Expression, before[i])) then
                        Assignment(name, row[i].Expression)
            ]

        assignments,
        [
            for i in 0 .. kept.Length - 1 -> KeptNumber(rule.ScalarNames[i], scalars[i].Expression)
        ]

    /// What becomes of arrays, and of the numbers that are kept, in a step of some number.
    let private exactly (rule: Rule) (options: IOptimizerOptions) (step: int64) =
        recordStep rule options (StepNumber<RecordedNumber> step)

    /// The same of any step that is of one kind with another: early or late.
    let private like (rule: Rule) (options: IOptimizerOptions) (count: int64) =
        recordStep rule options (stepLike count)

    /// The same of any step but the first ones, about which something may be special.
    let later (rule: Rule) (options: IOptimizerOptions) = like rule options late

    /// A number that tells early steps from late ones, of any step.
    let private phase (rule: IPhased) (options: IOptimizerOptions) =
        (rule.Phase<RecordedNumber>(options, reader, stepLike late)).Expression

    /// What the elements of a column are before the first step, and the kept numbers, as expressions of options.
    let starts (rule: Rule) (options: IOptimizerOptions) =
        let scalars = rule.StartScalars<RecordedNumber>(options, reader)

        [
            for column in 0 .. rule.ColumnNames.Length - 1 -> rule.Start<RecordedNumber>(options, column, reader).Expression
        ],
        [ for index in 0 .. rule.ScalarNames.Length - 1 -> scalars[index].Expression ]

    /// What a number of the step comes to, by what options, kept numbers and the step count are.
    let rec valueOf (leaf: Expression -> double) (number: Expression) : double =
        match number.Operation with
        | Operation.Constant -> number.Value
        | Operation.Option
        | Operation.StepCount
        | Operation.Kept -> leaf number
        | operation ->
            let operands = number.Operands.ToArray() |> Array.map (valueOf leaf)

            let place index =
                if index < operands.Length then index else -1

            StepNumbers.Evaluate(Node(operation, place 0, place 1, place 2), operands)

    /// The numbers among options, by their names in recordings.
    let numbersOf (rule: Rule) (options: IOptimizerOptions) : IReadOnlyDictionary<string, double> =
        dict
            [
                for number in rule.Numbers options do
                    match rule.Read(options, number.Option) with
                    | OptionValue.Float value -> number.Name, value
                    | OptionValue.Tuple(Items parts) ->
                        match parts[number.Part] with
                        | OptionValue.Float value -> number.Name, value
                        | _ -> ()
                    | _ -> ()
            ]
        |> Dictionary
        :> IReadOnlyDictionary<_, _>

    /// What numbers come to in a step: of options, and of kept numbers as they happen to be.
    let private valuesIn (rule: Rule) (options: IOptimizerOptions) (step: int64) : Expression -> double =
        let ofOptions = numbersOf rule options

        valueOf (fun number ->
            match number.Operation with
            | Operation.StepCount -> double step
            | Operation.Kept -> 0.7
            | _ ->
                match ofOptions.TryGetValue number.Name with
                | true, value -> value
                | _ -> nan)

    /// Whether the same is done to arrays and kept numbers, with the same numbers.
    let private isLike value (assignments: Assignment list, kept: KeptNumber list) (others: Assignment list, othersKept: KeptNumber list) =
        let same = HashSet<struct (Expression * Expression)>()

        let rec alike (a: Expression) (b: Expression) =
            obj.ReferenceEquals(a, b)
            || same.Contains(struct (a, b))
            || (isSame a b && same.Add(struct (a, b)))

        and isSame a b =
            if a.Scope < Scope.Element && b.Scope < Scope.Element then
                let x, y: double * double = value a, value b
                x.Equals y || abs (x - y) <= 1e-9 * (abs x + abs y)
            else
                a.Operation = b.Operation
                && a.Name = b.Name
                && a.Operands.Length = b.Operands.Length
                && Array.forall2 alike (a.Operands.ToArray()) (b.Operands.ToArray())

        assignments.Length = others.Length
        && List.forall2 (fun (a: Assignment) (b: Assignment) -> a.Array = b.Array && alike a.Value b.Value) assignments others
        && List.forall2 (fun (a: KeptNumber) (b: KeptNumber) -> alike a.Value b.Value) kept othersKept

    /// What becomes of arrays, and of the numbers that are kept, in any step, whose number is a number of the program: its first step may be another one
    /// than later ones, and early ones than late ones. None where steps differ otherwise.
    let ofAnyStep (rule: Rule) (options: IOptimizerOptions) : struct (Assignment list * KeptNumber list) voption =
        let phased: IPhased voption =
            match box rule with
            | :? IPhased as phased when phased.HasPhases -> ValueSome phased
            | _ -> ValueNone

        // What differs by the step is recorded under options that show it; which numbers options are does not matter.
        let telling =
            match phased with
            | ValueSome phased -> phased.WithBothPhases options
            | ValueNone -> options

        let first, last = exactly rule telling 1L, later rule telling

        let early =
            match phased with
            | ValueSome _ -> like rule telling 2L
            | ValueNone -> last

        let isLike step one =
            isLike (valuesIn rule telling step) one (exactly rule telling step)

        let isSteady =
            seq { 2L .. 64L }
            |> Seq.forall (fun step -> isLike step last || isLike step early)

        let isSpecial = not (isLike 1L early)

        let isFirst =
            // No step lies between 1 and 2.
            Condition.Greater(Expression.Of 1.5, Expression.StepCount)

        let isLate =
            phased
            |> ValueOption.map (fun phased -> Condition.Greater(phase phased options, Expression.Of 0.0))

        /// What something becomes, chosen by the step among what each recording says of it.
        let next (said: Assignment list * KeptNumber list -> Expression) =
            let value =
                match isLate with
                | ValueSome isLate -> Expression.Select(isLate, said last, said early)
                | ValueNone -> said last

            if isSpecial then
                Expression.Select(isFirst, said first, value)
            else
                value

        let nextOf array =
            next (fun (assignments, _) ->
                match assignments |> List.tryFind (fun assignment -> assignment.Array = array) with
                | Some assignment -> assignment.Value
                | None -> Expression.Input array)

        let changed =
            [ first; early; last ]
            |> List.collect (fst >> List.map _.Array)
            |> List.distinct

        if isSteady then
            ValueSome(
                struct ([ for array in changed -> Assignment(array, nextOf array) ],
                        [
                            for index in 0 .. rule.ScalarNames.Length - 1 ->
                                KeptNumber(rule.ScalarNames[index], next (fun (_, kept) -> kept[index].Value))
                        ])
            )
        else
            ValueNone
