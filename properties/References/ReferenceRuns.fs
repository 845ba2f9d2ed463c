/// Generated runs of every element-wise rule: options, and histories in which gradients are missing.
module ReferenceRuns

open System
open FsCheck.FSharp
open Optim.Kernels
open Reference
open Kit

type Run =
    {
        Rule: string
        DType: DType
        Given: (string * Setting) list
        Initial: float[] list
        /// [step][parameter]; None: no gradient.
        Gradients: float[] option list list
    }

    override this.ToString() =
        let array values =
            "[" + String.Join("; ", values |> Array.map text) + "]"

        let given =
            String.Join(", ", [ for name, value in this.Given -> $"{name} {value}" ])

        let initial = String.Join("; ", this.Initial |> List.map array)

        let gradients =
            String.Join(
                "\n  ",
                [
                    for row in this.Gradients -> String.Join("; ", [ for g in row -> g |> Option.map array |> Option.defaultValue "None" ])
                ]
            )

        $"{this.Rule} {this.DType} {given}\n  from {initial}\n  {gradients}"

let private uniform low high =
    Gen.choose (0, 1 <<< 20)
    |> Gen.map (fun k -> low + (high - low) * float k / float (1 <<< 20))

let private logUniform low high =
    uniform (log10 low) (log10 high) |> Gen.map (fun e -> Math.Pow(10.0, e))

/// Mostly numbers of many sizes, some zeros and some of few bits.
let private value dtype =
    let signed generator =
        Gen.map2 (fun negative x -> if negative then -x else x) (Gen.elements [ false; true ]) generator

    Gen.frequency
        [
            1, Gen.constant 0.0
            2, signed (Gen.elements [ 0.25; 0.5; 1.0; 2.0 ])
            7, signed (logUniform 1e-3 1e2)
        ]
    |> Gen.map (fun x -> if dtype = DType.Float32 then float (float32 x) else x)

/// Edges first, then anything between.
let private numbers edges between =
    Gen.frequency [ 2, Gen.elements edges; 1, between ] |> Gen.map Number

let private flags = Gen.elements [ Flag false; Flag true ]
let private lr = numbers [ 0.0; 1e-3; 0.1; 1.0 ] (logUniform 1e-4 1.0)
let private eps = numbers [ 0.0; 1e-8; 1e-3 ] (logUniform 1e-10 1e-2)
let private decay = numbers [ 0.0; 0.01; 0.5 ] (uniform 0.0 0.5)

let private betas =
    let beta =
        Gen.frequency [ 2, Gen.elements [ 0.0; 0.5; 0.9; 0.99 ]; 1, uniform 0.0 0.99 ]

    Gen.map2 (fun first second -> Pair(first, second)) beta beta

let private adam =
    [
        "lr", lr
        "betas", betas
        "eps", eps
        "weight_decay", decay
        "amsgrad", flags
        "maximize", flags
    ]

let private plain = adam |> List.filter (fun (name, _) -> name <> "amsgrad")

let settings =
    Map
        [
            "SGD",
            [
                "lr", lr
                "momentum", numbers [ 0.0; 0.5; 0.9 ] (uniform 0.0 0.99)
                "dampening", numbers [ 0.0; 0.5; 1.0 ] (uniform 0.0 1.0)
                "nesterov", flags
                "weight_decay", decay
                "maximize", flags
            ]
            "Adadelta",
            [
                "lr", lr
                "rho", numbers [ 0.0; 0.9; 0.99; 1.0 ] (uniform 0.0 1.0)
                "eps", eps
                "weight_decay", decay
                "maximize", flags
            ]
            "Adagrad",
            [
                "lr", lr
                "lr_decay", numbers [ 0.0; 0.1; 1.0 ] (uniform 0.0 1.0)
                "weight_decay", decay
                "initial_accumulator_value", numbers [ 0.0; 0.1; 1.0 ] (uniform 0.0 1.0)
                "eps", eps
                "maximize", flags
            ]
            "Adam", adam @ [ "decoupled_weight_decay", flags ]
            "AdamW", adam
            "Adamax", plain
            "ASGD",
            [
                "lr", lr
                "lambd", numbers [ 0.0; 1e-4; 0.1; 1.0 ] (uniform 0.0 1.0)
                "alpha", numbers [ 0.0; 0.75; 1.0 ] (uniform 0.0 1.0)
                "t0", numbers [ 0.0; 1.0; 3.0; 1e6 ] (uniform 0.0 9.0)
                "weight_decay", decay
                "maximize", flags
            ]
            "NAdam",
            plain
            @ [
                "momentum_decay", numbers [ 0.0; 4e-3; 1.0 ] (uniform 0.0 1.0)
                "decoupled_weight_decay", flags
            ]
            "RAdam",
            [
                for name, generator in plain do
                    // Only a rectified step has eps: it must be large to be noticed in the few of them.
                    name,
                    (if name = "eps" then
                         numbers [ 0.0; 1e-8; 0.1; 1.0 ] (logUniform 1e-10 1.0)
                     else
                         generator)
                "decoupled_weight_decay", flags
            ]
            "RMSprop",
            [
                "lr", lr
                "alpha", numbers [ 0.0; 0.9; 0.99 ] (uniform 0.0 0.999)
                "eps", eps
                "weight_decay", decay
                "momentum", numbers [ 0.0; 0.5; 0.9 ] (uniform 0.0 0.99)
                "centered", flags
                "maximize", flags
            ]
            "Rprop",
            [
                "lr", lr
                "etas", Gen.elements [ Pair(0.5, 1.2); Pair(0.3, 1.5); Pair(0.9, 1.01) ]
                "step_sizes", Gen.elements [ Pair(1e-6, 50.0); Pair(1e-3, 0.5); Pair(0.05, 0.2) ]
                "maximize", flags
            ]
        ]

/// Nesterov's step is refused without momentum or with dampening.
let private allowed (given: (string * Setting) list) =
    let given = Map.ofList given

    match Map.tryFind "nesterov" given with
    | Some(Flag true) when
        given["momentum"] = Number 0.0
        || Map.tryFind "dampening" given |> Option.exists (fun d -> d <> Number 0.0)
        ->
        Map.add "nesterov" (Flag false) given |> Map.toList
    | _ -> Map.toList given

let private sequence generators = Gen.sequenceToList generators

let run rule dtype =
    gen {
        let! given =
            sequence
                [
                    for name, setting in settings[rule] ->
                        Gen.frequency [ 3, setting |> Gen.map (fun value -> Some(name, value)); 1, Gen.constant None ]
                ]

        let given = List.choose id given |> Map.ofList

        let given =
            match Map.tryFind "nesterov" given, Map.tryFind "momentum" given with
            | Some _, None -> Map.remove "nesterov" given
            | _ -> given

        let! counts = Gen.listOfLength 2 (Gen.elements [ 1; 2; 5; 9; 17 ])
        let! steps = Gen.frequency [ 5, Gen.choose (1, 8); 1, Gen.choose (9, 40) ]
        let array count = Gen.arrayOfLength count (value dtype)
        let! initial = sequence (counts |> List.map array)

        let! gradients =
            sequence
                [
                    for _ in 1..steps ->
                        sequence
                            [
                                for count in counts -> Gen.frequency [ 1, Gen.constant None; 4, array count |> Gen.map Some ]
                            ]
                ]

        return
            {
                Rule = rule
                DType = dtype
                Given = allowed (Map.toList given)
                Initial = initial
                Gradients = gradients
            }
    }

let shrink run =
    seq {
        let steps = run.Gradients.Length

        for shorter in List.distinct [ steps / 2; steps - 1 ] do
            if shorter >= 1 && shorter < steps then
                { run with
                    Gradients = List.truncate shorter run.Gradients
                }

        if run.Initial.Length > 1 then
            for keep in 0 .. run.Initial.Length - 1 do
                { run with
                    Initial = [ run.Initial[keep] ]
                    Gradients = [ for row in run.Gradients -> [ row[keep] ] ]
                }

        if run.Initial |> List.exists (fun values -> values.Length > 1) then
            for part in [ (fun n -> 0, n / 2 - 1); (fun n -> n / 2, n - 1) ] do
                let cut (values: float[]) =
                    let first, last = part values.Length
                    if values.Length > 1 then values[first..last] else values

                { run with
                    Initial = run.Initial |> List.map cut
                    Gradients = run.Gradients |> List.map (List.map (Option.map cut))
                }

        for name, _ in run.Given do
            { run with
                Given = run.Given |> List.filter (fun (other, _) -> other <> name) |> allowed
            }
    }
