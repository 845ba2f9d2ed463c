/// Wrappers of other libraries by ours: golden/beyond/wrappers*.json.
module WrapperGolden

open System
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Golden
open Plain

/// The sum of p'Ap/2 - b'p over the parameters, and its gradients.
type private Objective = { A: float array; B: float array }

let private gradientOf (objective: Objective) (p: float array) =
    Array.init p.Length (fun i ->
        (Seq.sum (seq { for j in 0 .. p.Length - 1 -> objective.A[i * p.Length + j] * p[j] }))
        - objective.B[i])

let private lossOf (objective: Objective) (p: float array) =
    let gradient = gradientOf objective p
    Seq.sum (seq { for i in 0 .. p.Length - 1 -> 0.5 * p[i] * (gradient[i] - objective.B[i]) })

/// How a wrapper steps: over parameters, by a closure that works out gradients and loss.
type private Stepper = Param array -> Optimizer * ((unit -> float) -> unit)

let private ofRule (rule: Rule) : Stepper =
    fun parameters ->
        let optimizer =
            new RuleOptimizer(rule, parameters |> Seq.map (fun p -> p :> IParameterOrGroup))

        optimizer :> Optimizer, (fun closure -> optimizer.Step(Func<float> closure) |> ignore)

let private ofSharpness (inner: Param array -> Optimizer) (make: Optimizer -> SharpnessAware) : Stepper =
    fun parameters ->
        let optimizer = inner parameters
        let outer = make optimizer
        optimizer, (fun closure -> outer.Step(Func<float> closure) |> ignore)

let private sgd lr momentum =
    { SGD.defaults with
        Lr = lr
        Momentum = momentum
    }

let private over (parameters: Param array) =
    parameters |> Seq.map (fun p -> p :> IParameterOrGroup)

let private withSgd lr momentum parameters =
    RuleOptimizer(Rules.SGD, over parameters, struct ("lr", OptionValue.Float lr), struct ("momentum", OptionValue.Float momentum))
    :> Optimizer

let private withAdamW lr parameters =
    RuleOptimizer(Rules.AdamW, over parameters, struct ("lr", OptionValue.Float lr)) :> Optimizer

let private momentum = sgd 0.1 0.9
let private adamW = { AdamW.defaults with Lr = 0.01 }

/// By the recorder's name: how it steps, how close it is, and how often it asks for gradients.
let private expressed: Map<string, Stepper * float * int> =
    Map
        [
            "SAM rho 0.05 of SGD lr 0.1 momentum 0.9", (ofSharpness (withSgd 0.1 0.9) (fun o -> SAM(o, rho = 0.05)), 1e-7, 24)
            "SAM rho 0.5 adaptive of AdamW lr 0.01", (ofSharpness (withAdamW 0.01) (fun o -> SAM(o, rho = 0.5, adaptive = true)), 1e-7, 24)
            "WSAM rho 0.05 gamma 0.9 of SGD lr 0.1 momentum 0.9",
            (ofSharpness (withSgd 0.1 0.9) (fun o -> WSAM(o, rho = 0.05, gamma = 0.9)), 1e-7, 24)
            "LookSAM rho 0.1 k 3 of SGD lr 0.1", (ofSharpness (withSgd 0.1 0.0) (fun o -> LookSAM(o, rho = 0.1, k = 3)), 1e-7, 16)
            "Lookahead k 3 alpha 0.5 of SGD lr 0.1 momentum 0.9",
            (ofRule (Wrappers.Lookahead(Rules.SGD, 3, 0.5, options = momentum)), 1e-11, 12)
            "Lookahead k 3 alpha 0.5 pullback of SGD lr 0.1 momentum 0.9",
            (ofRule (Wrappers.Lookahead(Rules.SGD, 3, 0.5, LookaheadMomentum.Pullback, options = momentum)), 1e-11, 12)
            "Lookahead k 3 alpha 0.5 reset of SGD lr 0.1 momentum 0.9",
            (ofRule (Wrappers.Lookahead(Rules.SGD, 3, 0.5, LookaheadMomentum.Reset, options = momentum)), 1e-11, 12)
            "timm Lookahead k 3 alpha 0.5 of AdamW lr 0.01",
            (ofRule (Wrappers.Lookahead(Rules.AdamW, 3, 0.5, fromFirstSync = true, options = adamW)), 1e-11, 12)
            "TRAC of SGD lr 0.1", (ofRule (Wrappers.Trac(Rules.SGD, options = sgd 0.1 0.0)), 1e-16, 12)
            "OrthoGrad of SGD lr 0.1", (ofRule (Wrappers.OrthoGrad(Rules.SGD, options = sgd 0.1 0.0)), 1e-11, 12)
            "ScheduleFreeWrapper of RMSprop lr 0.01",
            (ofRule (Wrappers.ScheduleFree(Rules.RMSprop, options = { RMSprop.defaults with Lr = 0.01 })), 1e-11, 12)
        ]

let private check (case: JsonElement) (stepper: Stepper, bound: float, evaluations: int) () =
    let objective =
        [|
            for each in field "objective" case |> list id ->
                {
                    A = field "A" each |> list number |> List.toArray
                    B = field "b" each |> list number |> List.toArray
                }
        |]

    let initial =
        field "initial" case |> list (list number >> List.toArray) |> List.toArray

    let parameters =
        initial |> Array.mapi (fun i values -> Param.Of(string i, TensorView.Of values))

    let read () =
        parameters |> Array.map (fun p -> p.Data<float>().ToArray())

    let optimizer, step = stepper parameters
    let mutable asked = 0
    let mutable worst = 0.0

    let closure () =
        asked <- asked + 1

        for i in 0 .. parameters.Length - 1 do
            parameters[i].SetGradient(ReadOnlySpan<float>(gradientOf objective[i] (parameters[i].Data<float>().ToArray())))

        Array.map2 lossOf objective (read ()) |> Array.sum

    let compare what (expected: JsonElement) (found: float array array) =
        for tensor, values in List.indexed (list (list number) expected) do
            for i, value in List.indexed values do
                let difference = abs (found[tensor].[i] - value) / (1.0 + abs value)
                worst <- max worst difference

                if not (difference <= bound) then
                    failtestf "%s: parameter %d, element %d is %.17g, expected %.17g" what tensor i found[tensor].[i] value

    let averaged = tryField "averaged" case |> Option.map (list id)

    for t, expected in List.indexed (field "params" case |> list id) do
        let loss = Array.map2 lossOf objective (read ()) |> Array.sum
        let recorded = field "losses" case |> list number |> List.item t
        Expect.isLessThan (abs (loss - recorded)) (1e-6 * (1.0 + abs recorded)) "loss"
        step closure
        compare $"step {t + 1}" expected (read ())

        match averaged with
        | Some rows ->
            let before = read ()

            (use view = ScheduleFreeView.Applied optimizer
             compare $"average of step {t + 1}" rows[t] (read ())
             Expect.throwsC (fun () -> step closure) (fun e -> Expect.stringContains e.Message "Schedule-Free" "a step meanwhile"))

            Expect.equal (read ()) before "back in training"
        | None -> ()

    Expect.equal asked evaluations "gradient evaluations"
    Cases.add "wrappers" 1

let private ofFile _ (root: JsonElement) =
    [
        for case in root |> list id do
            let name = field "wrapper" case |> text

            match Map.tryFind name expressed with
            | Some how -> testCase name (check case how)
            | None -> ptestCase name ignore
    ]

[<Tests>]
let tests = testList "wrappers" (recorded "beyond/wrappers*.json" ofFile)
