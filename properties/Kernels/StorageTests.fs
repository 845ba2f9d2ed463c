/// Parameters that are stored otherwise than computed with: half types, rounded once a step, and complex numbers, pairs of reals.
module StorageTests

open Expecto
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Optim.Laws.Mutant
open KernelRuns
open Mutants
open Plain
open HalfTypes

let private lengths = [ 0; 1; 2; 7; 16; 33 ]

let private rounded dtype (s: Scenario) =
    { s with
        DType = DType.Float32
        Start = s.Start |> Array.map (Array.map (round dtype))
        History = s.History |> Array.map (Array.map (ValueOption.map (Array.map (round dtype))))
    }

let private steps (rule: Rule) = if rule.Name = "RAdam" then 7 else 3

/// The law holds of a rule as it is.
let private held what (law: Subject -> DType -> Verdict) (rule: Rule) (dtype: DType) =
    law (Subject.ofRule rule) dtype |> holds $"{rule.Name}, {dtype.Name()}, {what}"
    Cases.add "kernels" 1

/// The law finds a defect, in every one of these dtypes.
let private found defect (law: Subject -> DType -> Verdict) (subject: Subject) dtypes =
    for dtype: DType in dtypes do
        match law subject dtype with
        | Verdict.Broken _ -> Cases.add "mutants" 1
        | _ -> failtestf "%s, %s: \"%s\" is not found" subject.Rule.Name (dtype.Name()) defect

let private lastDiffers =
    after (fun _ parameters gradients _ ->
        for view in stepped parameters gradients do
            spoil view (int view.Count * DTypes.Parts view.DType - 1))

/// What float32 arithmetic makes of half types, at every width.
let private widened options length (subject: Subject) dtype =
    let rule = subject.Rule
    let s = scenario rule options dtype (steps rule) length
    let expected = finalStored (round dtype) (rounded dtype s)

    [
        for width in widths ->
            Setting.withWidth width (fun () -> Run.final subject s)
            |> Snapshot.compare Comparator.bit expected
            |> Verdict.where $"{describe rule options dtype}, {length} elements, {width}"
    ]
    |> Verdict.all

let private halfTests =
    test "half types: every combination of switches is float32 arithmetic, with parameters rounded once a step, at every width and tail" {
        for rule, options in combinations do
            for dtype in halves do
                for length in lengths do
                    held "" (widened options length) rule dtype

        let wideState = widened Adam.rule.Defaults 33

        found
            "moments are kept as narrow as the parameters"
            wideState
            (subject "Adam"
             |> after (fun _ parameters _ state ->
                 for column in [ "exp_avg"; "exp_avg_sq" ] do
                     for row in state[column].Rows do
                         if not row.IsAbsent then
                             row.ToDoubles() |> Array.map (round parameters[0].DType) |> Tensor.fill row))
            halves

        // Without the rounding between the steps it would be something else.
        let rule = Rules.Find "SGD"
        let s = scenario rule rule.Defaults DType.BFloat16 3 33
        differs DType.Float32 (final (rounded DType.BFloat16 s)).Theta[0] (run rule s).Theta[0]
    }

/// E10: as pairs of reals, at every width.
let private pairs options length (subject: Subject) dtype =
    let rule = subject.Rule

    let part =
        if dtype = DType.Complex64 then
            DType.Float32
        else
            DType.Float64

    let s = scenario rule options part (steps rule) (2 * length)
    let expected = run rule s

    [
        for width in widths ->
            Setting.withWidth width (fun () -> Run.final subject { s with DType = dtype })
            |> Snapshot.compare Comparator.bit expected
            |> Verdict.where $"{describe rule options dtype}, {length} elements, {width}"
    ]
    |> Verdict.all

let private complexes = [ DType.Complex64; DType.Complex128 ]

let private complexTests =
    test "complex numbers are stepped as pairs of reals, at every width and tail (E10)" {
        for rule, options in combinations do
            for dtype in complexes do
                for length in lengths do
                    held "" (pairs options length) rule dtype

        for rule in [ "Adam"; "SGD" ] do
            let subject = subject rule
            found "both parts are divided by the magnitude" (pairs subject.Rule.Defaults 8) (byMagnitude subject) complexes
    }

let private whole (rule: Rule) dtype =
    scenario rule (full rule) dtype (steps rule) (36 * DTypes.Parts dtype)

/// E1.
let private turned (subject: Subject) dtype =
    let s = whole subject.Rule dtype
    let turn = Array.chunkBySize (DTypes.Parts dtype) >> Array.rev >> Array.concat

    let backwards =
        Run.final
            subject
            { s with
                Start = Array.map turn s.Start
                History = s.History |> Array.map (Array.map (ValueOption.map turn))
            }

    Comparator.arrays Comparator.bit dtype (Run.final subject s).Theta[0] (turn backwards.Theta[0])

/// E2.
let private cut (subject: Subject) dtype =
    let s = whole subject.Rule dtype

    inPiecesBy (Run.final subject) (7 * DTypes.Parts dtype) s
    |> Snapshot.compare Comparator.bit (Run.final subject s)

let private elementTests =
    test "half and complex parameters: the order of elements and cuts into pieces change no bit (E1, E2)" {
        for rule in Kit.denseRules do
            for dtype in storedDTypes do
                held "turned round" turned rule dtype
                held "in pieces" cut rule dtype

        let defect = "the last element is stepped in another way"
        found defect turned (lastDiffers (subject "Adam")) storedDTypes
        found defect cut (lastDiffers (subject "Adam")) storedDTypes
    }

/// F5.
let private threads (subject: Subject) dtype =
    let s =
        scenario subject.Rule (full subject.Rule) dtype 2 (40_003 * DTypes.Parts dtype)

    let with' threads =
        Setting.withThreads threads (fun () -> Run.final subject s)

    let expected = with' 1

    [
        for threads in [ 2; 3; 8 ] ->
            with' threads
            |> Snapshot.compare Comparator.bit expected
            |> Verdict.where $"{threads} threads"
    ]
    |> Verdict.all

let private threadTests =
    test "half and complex parameters: every number of threads gives the same bits (F5)" {
        for rule in Kit.denseRules do
            for dtype in storedDTypes do
                held "" threads rule dtype

        found
            "the border between two threads is stepped twice"
            threads
            (subject "SGD"
             |> after (fun _ parameters gradients _ ->
                 if Optim.Threads.Count > 1 then
                     for view in stepped parameters gradients do
                         spoil view (int view.Count / 2)))
            storedDTypes
    }

/// G1.
let private still (subject: Subject) (dtype: DType) =
    let rule = subject.Rule

    let options =
        Options.set [ "weight_decay", Options.ofNumber 0.0; "lambd", Options.ofNumber 0.0 ] rule rule.Defaults

    let start =
        Array.init (66 * DTypes.Parts dtype) (fun i ->
            if dtype = DType.Float16 then
                word dtype (i * 400)
            else
                word DType.BFloat16 (i * 400))

    let s =
        { scenario rule options dtype 0 0 with
            Start = [| start |]
            History = Array.replicate 3 [| ValueSome(Array.zeroCreate start.Length) |]
        }

    let final = Run.final subject s

    Verdict.both
        (Comparator.arrays Comparator.bitButZeros dtype start final.Theta[0])
        (Snapshot.finite final |> Verdict.require (fun () -> "the state is not finite"))

let private nothingTests =
    test "half and complex parameters: a gradient of zero moves nothing at first, and makes no NaN (G1)" {
        for rule in Kit.denseRules do
            for dtype in storedDTypes do
                held "" still rule dtype

        found "eps is lost in the dtype" still (subject "Adam" |> withOption "eps" (Options.ofNumber 0.0)) storedDTypes
    }

[<Tests>]
let tests =
    testSequenced
    <| testList
        "storage"
        (RoundingTests.tests
         @ [ halfTests; complexTests; elementTests; threadTests; nothingTests ])
