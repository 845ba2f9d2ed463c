/// What the kernels are made to run.
module KernelRuns

open System
open Expecto
open Optim.Core
open Optim.Kernels
open Optim.Laws

/// All widths.
let widths = [ Width.Single; Width.Bits128; Width.Bits256; Width.Bits512 ]

/// The dtypes of the arithmetic.
let dtypes = [ DType.Float32; DType.Float64 ]

/// The dtypes that are only stored: narrower than the arithmetic, or pairs of it.
let storedDTypes =
    [ DType.Float16; DType.BFloat16; DType.Complex64; DType.Complex128 ]

/// Every combination of the switches of every rule.
let combinations: (Rule * IOptimizerOptions) list =
    let flags name =
        [ [ name, Options.ofFlag false ]; [ name, Options.ofFlag true ] ]

    let decay =
        [
            [ "weight_decay", Options.ofNumber 0.0 ]
            [ "weight_decay", Options.ofNumber 0.1 ]
        ]

    let betas = [ []; [ "betas", OptionValue.op_Implicit (struct (0.25, 0.9)) ] ]

    let momentum =
        [ [ "momentum", Options.ofNumber 0.0 ]; [ "momentum", Options.ofNumber 0.9 ] ]

    let all (name: string) (choices: (string * OptionValue) list list list) =
        let rule = Rules.Find name

        let product =
            List.fold (fun sets choice -> List.allPairs sets choice |> List.map (fun (a, b) -> a @ b)) [ [] ] choices

        product
        |> List.choose (fun set ->
            try
                Some(rule, Options.set set rule rule.Defaults)
            with :? OptionException ->
                None)

    [
        all
            "Adam"
            [
                flags "maximize"
                decay
                flags "decoupled_weight_decay"
                flags "amsgrad"
                betas
            ]
        all "Adadelta" [ flags "maximize"; decay ]
        all "Adagrad" [ flags "maximize"; decay ]
        all "Adamax" [ flags "maximize"; decay; betas ]
        all "ASGD" [ flags "maximize"; decay ]
        all "ASGD" [ [ [ "t0", Options.ofNumber -1.0 ] ]; flags "maximize" ]

        for name in [ "NAdam"; "RAdam" ] do
            all name [ flags "maximize"; decay; flags "decoupled_weight_decay"; betas ]
        all "AdamW" [ flags "maximize"; decay; flags "amsgrad" ]
        all "SGD" [ flags "maximize"; decay; momentum; flags "nesterov" ]
        all
            "SGD"
            [
                [ [ "momentum", Options.ofNumber 0.9; "dampening", Options.ofNumber 0.3 ] ]
                flags "maximize"
            ]
        all "RMSprop" [ flags "maximize"; decay; momentum; flags "centered" ]
        all
            "RMSprop"
            [
                [ [ "alpha", Options.ofNumber 0.25; "centered", Options.ofFlag true ] ]
                momentum
            ]
        all "Rprop" [ flags "maximize" ]
    ]
    |> List.concat

/// A scenario of one parameter with a gradient in every step; the same for the same length.
let scenario (rule: Rule) (options: IOptimizerOptions) dtype steps (length: int) =
    let random = Random(length + 1)

    let values palette =
        Array.init length (fun _ -> palette random dtype)

    {
        Rule = rule
        Options = options
        DType = dtype
        Start = [| values Palette.ordinary |]
        History = Array.init steps (fun _ -> [| ValueSome(values Palette.ordinary) |])
    }

/// Rule, options and dtype in words.
let describe (rule: Rule) (options: IOptimizerOptions) dtype =
    string (scenario rule options dtype 0 0)

/// Fails where a verdict is broken.
let holds what verdict =
    match verdict with
    | Verdict.Broken why -> failtestf "%s: %s" what why
    | _ -> ()

/// The end of a scenario.
let run rule (s: Scenario) = Run.final (Subject.ofRule rule) s

/// Lengths from nothing to two of the widest vectors and a tail.
let tails = [ 0 .. 2 * 16 + 1 ]

/// A scenario, in pieces of so many elements, each by itself.
let inPiecesBy (run: Scenario -> Snapshot) (length: int) (s: Scenario) =
    let pieces (values: float[]) = Array.chunkBySize length values

    let runs =
        [|
            for piece in 0 .. (s.Start[0].Length - 1) / length do
                run
                    { s with
                        Start = [| (pieces s.Start[0])[piece] |]
                        History =
                            s.History
                            |> Array.map (fun row -> [| ValueSome((pieces (Row.only row))[piece]) |])
                    }
        |]

    let joined name =
        runs |> Array.collect (Snapshot.row name 0)

    { runs[0] with
        Theta = [| runs |> Array.collect (fun run -> run.Theta[0]) |]
        State =
            runs[0].State
            |> List.map (fun (name, rows) -> name, [| if rows[0].IsNone then ValueNone else ValueSome(joined name) |])
    }

/// The same, by a rule.
let inPieces rule = inPiecesBy (run rule)

/// All the columns that each rule has.
let full (rule: Rule) =
    let wanted =
        [
            "amsgrad", Options.ofFlag true
            "momentum", Options.ofNumber 0.9
            "centered", Options.ofFlag true
            "weight_decay", Options.ofNumber 0.1
        ]

    Options.set wanted rule rule.Defaults

/// Bits added to a number for all that came before, which is `noBits` at first.
let addBits (sum: uint64) (bits: int64) = (sum ^^^ uint64 bits) * 1099511628211UL

let noBits = 14695981039346656037UL

/// One number for the bits of all rules, switches, dtypes and tails; small enough for a machine without FMA.
let checksum () =
    let mutable sum = noBits

    for rule, options in combinations do
        // RAdam has another loop once it rectifies, from its sixth step on.
        let steps = if rule.Name = "RAdam" then 7 else 2

        for dtype in dtypes @ storedDTypes do
            for length in tails do
                let length = length * DTypes.Parts dtype
                let final = run rule (scenario rule options dtype steps length)

                for values in Seq.append final.Theta (final.State |> Seq.collect snd |> Seq.choose ValueOption.toOption) do
                    for x in values do
                        sum <- addBits sum (if Double.IsNaN x then -1L else Number.bits dtype x)

    sum.ToString("x16")

/// Numbers of the arithmetic in one dtype, near those of plain double precision.
let closeTo dtype what (expected: float[]) (actual: float[]) =
    let bound = if dtype = DType.Float32 then 2e-5 else 1e-11
    Expect.equal actual.Length expected.Length what

    for i in 0 .. expected.Length - 1 do
        if not (abs (actual[i] - expected[i]) <= bound * (1.0 + abs expected[i])) then
            failtestf "%s, element %d: %s instead of %s" what i (Kit.text actual[i]) (Kit.text expected[i])

/// The comparison sees that a result is wrong.
let differs dtype expected actual =
    match Comparator.arrays Comparator.bit dtype expected actual with
    | Verdict.Broken _ -> ()
    | _ -> failtest "a wrong result is not seen"
