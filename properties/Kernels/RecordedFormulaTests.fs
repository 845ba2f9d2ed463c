/// Formulas as recorded programs, alone and with what surrounds a step: the bits of the static driver and of passes of their own.
module RecordedFormulaTests

open System
open Expecto
open Optim.Kernels
open Optim.Laws
open KernelRuns
open Plain
open ProgramKit

let private formulaTests =
    test "every formula recorded, under all switches, gives the bits of the static driver: dtypes, widths, tails and engines" {
        let mutable cases = 0
        let coefficients = coefficients
        let lengths = [ 0; 1; 5; 16; 33; 70 ]

        for name, driver, switches, columns in formulas do
            for bits in 0 .. (1 <<< switches) - 1 do
                let program = driver.Record(bits, ResizeArray columns)
                Expect.equal (driver.Record(bits, ResizeArray columns)) program "the same program"
                Expect.equal (driver.Record(bits, ResizeArray columns).GetHashCode()) (program.GetHashCode()) "the same hash"

                for dtype in dtypes @ storedDTypes do
                    let all = memory dtype (2 + columns.Length) lengths

                    driver.Run(all.Table, 0, all.Count, dtype, bits, &coefficients, Executor.Caller)
                    |> ignore

                    let expected = all.Read()

                    // Half types differ from float32 by loads and stores, and complex ones by nothing: they need not run everywhere.
                    for setting in
                        (if List.contains dtype dtypes then
                             settings
                         else
                             List.truncate 2 (List.rev settings)) do
                        let found = memory dtype (2 + columns.Length) lengths

                        inSetting setting (fun () ->
                            let run = ProgramRun program
                            let leaves = run.Leaves |> Array.map (fun leaf -> numbers[int leaf.Name[1..] - 1])

                            run.Run(ReadOnlySpan [| ProgramSegment(found.Table, 0, found.Count, dtype, leaves) |], Executor.Caller)
                            |> ignore)

                        cases <- cases + 1

                        difference expected (found.Read())
                        |> Option.iter (failtestf "%s, switches %d, %s, %O: %s" name bits (dtype.Name()) setting)

        Cases.add "programs" cases
    }

/// What surrounds a step in a test.
type private Surrounded =
    {
        Unscale: float option
        Clip: float option
        Limit: float option
        Zeroes: bool
        Weights: float list
    }

/// The step and what surrounds it as passes of their own, one after the other.
let private apart (driver: Driver) bits (coefficients: Coefficients<Real>) dtype columns (around: Surrounded) (memory: Memory) =
    let pass (driver: Driver) switches (numbers: Coefficients<Real>) (table: SliceTable) =
        driver.Run(table, 0, memory.Count, dtype, switches, &numbers, Executor.Caller)
        |> ignore

    let number (x: float) = Coefficients<Real>(Real x)
    let back = memory.Keep 1
    let gradients = memory.Over(1, 1, 1)

    for factor in List.choose id [ around.Unscale; around.Clip ] do
        pass Driver<ScaleFormula>.Instance 0 (number factor) gradients

    around.Limit
    |> Option.iter (fun limit -> pass Driver<ClampFormula>.Instance 0 (number limit) gradients)

    pass driver bits coefficients memory.Table

    around.Weights
    |> List.iteri (fun index weight ->
        let table = memory.Over(0, 0, 2 + columns + index)

        if weight = 1.0 then
            pass Driver<ScaledFormula>.Instance 0 (number 1.0) table
        else
            pass Driver<AverageFormula>.Instance (AverageFormula.Switches weight) (AverageFormula.Coefficients(Real weight)) table)

    if around.Zeroes then memory.Clear 1 else back ()

let private surroundedTests =
    test "what surrounds a step as a program around a program gives the bits of passes of their own, in every engine" {
        let mutable cases = 0
        let coefficients = coefficients

        let arounds =
            let none =
                {
                    Unscale = None
                    Clip = None
                    Limit = None
                    Zeroes = false
                    Weights = []
                }

            [
                { none with
                    Unscale = Some(1.0 / 3.0)
                    Clip = Some 0.7
                    Weights = [ 1e-3 ]
                }
                { none with
                    Clip = Some 0.3
                    Limit = Some 0.2
                    Zeroes = true
                    Weights = [ 0.7; 1.0; 0.1 ]
                }
                { none with
                    Unscale = Some 0.1
                    Limit = Some 0.05
                    Zeroes = true
                }
                { none with Unscale = Some 1.0 }
                { none with Weights = [ 1.0 ] }
                { none with Zeroes = true }
            ]

        let lengthsOf name =
            if name = "Adam" then
                [ 9_000; 1; 5; 4_096; 33; 0; 70 ]
            else
                [ 1; 5; 33; 70 ]

        for name, driver, switches, columns in formulas do
            for bits in [ 0; (1 <<< switches) - 1 ] do
                for around in arounds do
                    for dtype in [ DType.Float32; DType.Float64; DType.BFloat16; DType.Float16; DType.Complex64 ] do
                        let fresh () =
                            memory dtype (2 + columns.Length + around.Weights.Length) (lengthsOf name)

                        let expected = fresh ()
                        apart driver bits coefficients dtype columns.Length around expected

                        let mutable surroundings =
                            Surroundings(around.Unscale.IsSome, around.Clip.IsSome, around.Limit.IsSome, around.Zeroes)

                        for weight in around.Weights do
                            surroundings <- surroundings.With(Surroundings.MoveOf weight)

                        let surroundings = surroundings

                        let given =
                            [|
                                for number in [ around.Unscale; around.Clip; around.Limit ] do
                                    Option.defaultValue 0.0 number

                                // Calls: nothing is accumulated.
                                1.0
                                yield! around.Weights
                            |]

                        let program = driver.Surrounded(bits, surroundings)

                        let byProgram (found: Memory) =
                            let run = ProgramRun program

                            let leaves =
                                run.Leaves
                                |> Array.map (fun leaf ->
                                    match Surroundings.PlaceOf leaf.Name with
                                    | -1 -> numbers[Driver.CoefficientOf leaf.Name]
                                    | place -> given[place])

                            run.Run(ReadOnlySpan [| ProgramSegment(found.Table, 0, found.Count, dtype, leaves) |], Executor.Caller)
                            |> ignore

                        let byFormula (found: Memory) =
                            let surrounded = SurroundedFormula driver
                            surrounded.Prepare(bits, &surroundings, dtype)
                            let executor = if name = "Adam" then Executor.Team else Executor.Caller

                            surrounded.Run(found.Table, 0, found.Count, dtype, bits, &coefficients, &surroundings, given, executor)
                            |> ignore

                        for setting, run in
                            [
                                (Width.Bits512, Engine.Emitted), byFormula
                                (Width.Bits128, Engine.Emitted), byFormula
                                (Width.Bits256, Engine.Blocks), byFormula
                                (Width.Bits256, Engine.Blocks), byProgram
                                (Width.Single, Engine.Emitted), byFormula
                            ] do
                            let found = fresh ()
                            inSetting setting (fun () -> run found)
                            cases <- cases + 1

                            difference (expected.Read()) (found.Read())
                            |> Option.iter (failtestf "%s, switches %d, %s, %O, %O: %s" name bits (dtype.Name()) surroundings setting)

        Cases.add "programs" cases
    }

let private printedTests =
    test "what surrounds a step is printed, for messages" {
        Expect.equal (string (Surroundings())) "nothing" "nothing"

        Expect.equal
            (string ((Surroundings(true, true, false, true).With AverageMove.FromOld).With AverageMove.Copy))
            "unscale, clip, 2 averages, zero"
            "some"
    }

[<Tests>]
let tests =
    testSequenced
    <| testList "programs" [ formulaTests; surroundedTests; printedTests ]
