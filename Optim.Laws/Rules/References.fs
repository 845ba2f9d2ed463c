namespace Optim.Laws

open System
open System.Collections.Generic
open FsCheck
open FsCheck.FSharp
open Microsoft.FSharp.Reflection
open Optim.Core
open Optim.Kernels

/// O1: a rule against a plain function of one element.
[<RequireQualifiedAccess>]
module References =
    /// Where a rule and its reference differ first.
    [<NoComparison>]
    type internal Difference =
        {
            /// Counted from 0.
            Step: int
            Parameter: int
            Element: int
            Why: string
        }

    /// A number as near as the dtype can hold it.
    let private rounded dtype (values: float[]) =
        (Tensor.ofFloats dtype values).ToDoubles()

    /// From 1 to the next number of the dtype.
    let private unit dtype =
        match dtype with
        | DType.Float64 -> Number.u DType.Float64
        | DType.Float32 -> Number.u DType.Float32
        | DType.Float16 -> Math.ScaleB(1.0, -10)
        | _ -> Math.ScaleB(1.0, -7)

    /// How near to 0 numbers of the dtype lie beside each other.
    let private finest dtype =
        if dtype = DType.Float16 then
            Math.ScaleB(1.0, -24)
        else
            Number.tiny DType.Float32

    /// Beyond it rounding and overflow of the dtype are not the rule's.
    let private largest dtype =
        if dtype = DType.Float16 then 3e4 else 1e30

    /// Runs of the reference beside it whose inputs are a little off: how far these come away says how well a number is defined at all.
    let private witnesses = 6

    /// One element under way: the reference, and the same with rounding errors.
    type private Path<'m> =
        {
            mutable Memory: 'm
            Beside: 'm[]
            mutable Steps: int
            mutable LongestStep: float
            /// How far the runs beside it have come away in any step so far.
            mutable Spread: float
            /// The largest values so far of what is kept.
            Largest: float[]
            /// Nothing is compared any more, as the reference is not finite.
            mutable Lost: bool
        }

    /// A number between -1 and 1, not near 0, that looks random: of numbers with nothing to do with each other, so that what cancels
    /// in a run does not cancel in those beside it.
    let private noise (place: uint64) =
        let mixed = (place + 1UL) * 0x9E3779B97F4A7C15UL
        let mixed = (mixed ^^^ (mixed >>> 30)) * 0xBF58476D1CE4E5B9UL
        let mixed = mixed ^^^ (mixed >>> 27)
        let size = 0.4 + 0.6 * double (mixed >>> 40) / double (1UL <<< 24)
        if mixed &&& 1UL = 0UL then size else -size

    /// A number that is off by up to two half units.
    let private off (unit: float) place (x: float) = x * (1.0 + 2.0 * unit * noise place)

    /// Changes all numbers in what an element remembers: a number, or tuples, records and options of them.
    let rec private everyNumber (t: Type) : (float -> float) -> obj -> obj =
        let rebuilt (types: Type[]) (read: obj -> obj[]) (make: obj[] -> obj) =
            // Types may hold themselves, as lists do.
            let parts = lazy (types |> Array.map everyNumber)

            fun change value ->
                read value
                |> Array.map2 (fun part value -> part change value) parts.Value
                |> make

        if t = typeof<float> then
            fun change value -> box (change (unbox<float> value))
        elif FSharpType.IsTuple t then
            rebuilt (FSharpType.GetTupleElements t) (FSharpValue.PreComputeTupleReader t) (FSharpValue.PreComputeTupleConstructor t)
        elif FSharpType.IsRecord t then
            rebuilt
                (FSharpType.GetRecordFields t |> Array.map _.PropertyType)
                (FSharpValue.PreComputeRecordReader t)
                (FSharpValue.PreComputeRecordConstructor t)
        elif FSharpType.IsUnion t then
            let tag = FSharpValue.PreComputeUnionTagReader t

            let cases =
                FSharpType.GetUnionCases t
                |> Array.map (fun case ->
                    rebuilt
                        (case.GetFields() |> Array.map _.PropertyType)
                        (FSharpValue.PreComputeUnionReader case)
                        (FSharpValue.PreComputeUnionConstructor case))

            fun change value -> cases[tag value] change value
        else
            fun _ value -> value

    /// Where the runs of a scenario differ first, if they do, and whether anything was compared that moved.
    let internal compare (reference: Reference<'o, 'm>) (subject: Subject) (s: Scenario) : struct (Difference option * bool) =
        let options = unbox<'o> s.Options
        let narrow = unit s.DType

        let wide =
            if s.DType = DType.Float64 then
                narrow
            else
                unit DType.Float32

        let struct (parameters, state) = Run.start subject s
        let mutable state = state
        let mutable before = Snapshot.read s.DType parameters state
        let mutable found = None
        let mutable moved = false

        let paths =
            s.Start
            |> Array.map (
                Array.map (fun _ ->
                    {
                        Memory = reference.Start options
                        Beside = Array.init witnesses (fun _ -> reference.Start options)
                        Steps = 0
                        LongestStep = 0.0
                        Spread = 0.0
                        Largest = Array.zeroCreate reference.Keeps.Length
                        Lost = false
                    })
            )

        let remembered = everyNumber typeof<'m>

        // The arithmetic squares: beyond the root of the largest number it overflows, and the reference, in double, does not.
        let overflowing = if wide = unit DType.Float32 then 1e15 else 1e150

        let judge (what: string) expected actual allowed =
            if
                abs (actual - expected) <= allowed
                || abs expected > overflowing
                || not (Double.IsFinite allowed)
            then
                None
            else
                let text (x: float) =
                    x.ToString("R", Globalization.CultureInfo.InvariantCulture)

                Some(sprintf "%s is %s instead of %s (rounding may make %.1g of difference)" what (text actual) (text expected) allowed)

        /// One step of an element from where the rule's own parameter is; what differs after it.
        let go (path: Path<'m>) (gradient: float) (theta: float) (now: float) (columns: float[]) =
            path.Steps <- path.Steps + 1
            let t = path.Steps
            let expected, memory = reference.Step options t gradient (theta, path.Memory)
            let mutable spread = 0.0
            let spreads = Array.zeroCreate reference.Keeps.Length

            for w in 0 .. witnesses - 1 do
                let mutable place = uint64 (w * 1000003 + t) <<< 8

                let off x =
                    place <- place + 1UL
                    off wide place x

                let before = path.Beside[w] |> box |> remembered off |> unbox<'m>
                let x, other = reference.Step options t (off gradient) (off theta, before)
                spread <- max spread (abs ((x - theta) - (expected - theta)))
                path.Beside[w] <- other

                reference.Keeps
                |> List.iteri (fun k (_, read) -> spreads[k] <- max spreads[k] (abs (read other - read memory)))

            path.Memory <- memory
            path.LongestStep <- max path.LongestStep (abs (expected - theta))
            path.Spread <- max path.Spread spread

            if
                path.Lost
                || not (Double.IsFinite expected)
                || not (Double.IsFinite spread)
                || abs expected > largest s.DType
            then
                path.Lost <- true
                None
            else
                moved <- moved || now <> theta

                let ofTheta =
                    judge
                        "the parameter"
                        expected
                        now
                        (narrow * max (abs expected) (abs theta)
                         + 64.0 * wide * path.LongestStep
                         + 8.0 * path.Spread
                         + finest s.DType)

                let ofColumns =
                    reference.Keeps
                    |> List.mapi (fun k (name, read) ->
                        let expected = read memory
                        path.Largest[k] <- max path.Largest[k] (abs expected)
                        judge name expected columns[k] (64.0 * wide * path.Largest[k] + 8.0 * spreads[k] + finest DType.Float32))
                    |> List.tryPick id

                Option.orElse ofTheta ofColumns

        let mutable step = 0

        while found.IsNone && step < s.History.Length do
            state <- subject.Step s.Options parameters (Run.gradients s.DType s.History[step]) state
            let after = Snapshot.read s.DType parameters state

            for k in 0 .. s.Start.Length - 1 do
                match s.History[step][k] with
                | ValueNone -> ()
                | ValueSome gradient ->
                    let gradient = rounded s.DType gradient

                    let columns =
                        reference.Keeps
                        |> List.map (fun (name, _) -> Snapshot.row name k after)
                        |> Array.ofList

                    for i in 0 .. gradient.Length - 1 do
                        let kept = columns |> Array.map (fun row -> if row.Length = 0 then nan else row[i])
                        let path: Path<'m> = paths[k][i]

                        match go path gradient[i] (Array.get before.Theta[k] i) (Array.get after.Theta[k] i) kept with
                        | Some why when found.IsNone ->
                            found <-
                                Some
                                    {
                                        Step = step
                                        Parameter = k
                                        Element = i
                                        Why = why
                                    }
                        | _ -> ()

            before <- after
            step <- step + 1

        struct (found, moved)

    let private recipe rule = { Recipe.any rule with Steps = 1, 20 }

    let private generator (rule: Rule) =
        gen {
            let! s = Recipe.generate rule (recipe rule)

            let! dtype =
                Gen.frequency
                    [
                        3, Gen.constant DType.Float32
                        3, Gen.constant DType.Float64
                        1, Gen.constant DType.BFloat16
                        1, Gen.constant DType.Float16
                    ]

            return
                { s with
                    DType = dtype
                    Start = s.Start |> Array.map (rounded dtype)
                    History = s.History |> Array.map (Array.map (ValueOption.map (rounded dtype)))
                }
        }

    /// First of all only the step and the element that differ, then whatever else is smaller.
    let private shrink reference subject (s: Scenario) =
        seq {
            match compare reference subject s with
            | struct (Some first, _) ->
                let until =
                    { s with
                        History = Array.truncate (first.Step + 1) s.History
                    }

                if s.Start.Length > 1 || s.Start[0].Length > 1 then
                    let only (values: float[]) = [| values[first.Element] |]

                    { until with
                        Start = [| only s.Start[first.Parameter] |]
                        History =
                            until.History
                            |> Array.map (fun row -> [| row[first.Parameter] |> ValueOption.map only |])
                    }

                if until.History.Length < s.History.Length then
                    until
            | _ -> ()

            yield! Recipe.shrink (recipe s.Rule) s
        }

    /// O1: the rule does what a plain function of one element does.
    let statement (reference: Reference<'o, 'm>) : Statement =
        let holds (subject: Subject) (s: Scenario) =
            match compare reference subject s with
            | struct (Some first, _) ->
                Verdict.Broken(sprintf "step %d, element %d of parameter %d: %s" (first.Step + 1) first.Element first.Parameter first.Why)
            | struct (None, moved) -> if moved then Verdict.Telling else Verdict.Trivial

        {
            Id = "O1"
            Says = "every element goes where its reference goes, under all options, dtypes and histories"
            About = fun rule -> rule.Scope = RuleScope.Elements
            Alone = false
            Try =
                fun subject cases seed ->
                    let subject = Subject.overDense subject
                    Statement.trial "O1" cases seed (generator subject.Rule) (shrink reference subject) (holds subject)
        }
