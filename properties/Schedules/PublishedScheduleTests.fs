/// The schedulers of transformers and timm beside their recordings: typed constructors, states, cycles, and what is refused.
module PublishedScheduleTests

open System
open System.Reflection
open Expecto
open Optim
open Optim.Core
open Reference
open Kit
open ScheduleKit
open ScheduleBeyond

let private plain () = optimizerOf 0.1 [ 0.1 ] [ None ]

/// A name as settings and parameters have it in common: num_warmup_steps and warmupSteps, decay_fn and decay.
let private bare (name: string) =
    let bare = name.Replace("_", "").Replace("fn", "").ToLowerInvariant()

    if bare.StartsWith("num", StringComparison.Ordinal) then
        bare.Substring 3
    else
        bare

/// A static method that makes a schedule, beside the kind that makes it by name.
let private face (face: Type) (kind: SchedulerKind) =
    let name = bare (kind.Name.Split(':')[1])

    let name = if kind.Name = "timm:wsd" then "warmupstabledecay" else name

    face.GetMethods(BindingFlags.Public ||| BindingFlags.Static)
    |> Array.tryFind (fun method -> method.Name.ToLowerInvariant() = name)

let private defaultsAgree (face: MethodInfo) (kind: SchedulerKind) =
    let parameters =
        face.GetParameters()[1..]
        |> Array.filter (fun p -> p.Name <> "decayFunction" && p.Name <> "lastEpoch")

    let settings =
        [
            for setting in kind.Settings do
                if setting.Name <> "last_epoch" then
                    setting
        ]

    Expect.sequenceEqual [ for p in parameters -> bare (nonNull p.Name) ] [ for setting in settings -> bare setting.Name ] kind.Name

    for p, setting in Seq.zip parameters settings do
        let what = $"{kind.Name} {setting.Name}"

        match p.DefaultValue with
        | :? DBNull -> Expect.isNull (box setting.Default) what
        | :? double as number ->
            match setting.Default with
            | OptionValue.Int whole -> Expect.equal number (float whole) what
            | other -> Expect.equal other (OptionValue.Float number) what
        | :? int as number -> Expect.equal setting.Default (OptionValue.Int(int64 number)) what
        | :? bool as flag -> Expect.equal setting.Default (OptionValue.Bool flag) what
        | null -> Expect.equal setting.Default OptionValue.None what
        | :? Descent as curve -> Expect.equal setting.Default (SchedulerSetting.TextOf curve) what
        | choice ->
            Expect.equal (Convert.ToInt32 choice) 0 what
            Expect.equal setting.Default (OptionValue.Text "constant") what

[<Tests>]
let tests =
    testList
        "beyond schedules"
        [
            test "a typed constructor has the settings and defaults of its name" {
                for kind in Schedulers.OfHuggingFace do
                    match kind.Name with
                    | "hf:reduce_lr_on_plateau"
                    | "hf:greedy" -> ()
                    | _ -> defaultsAgree (face typeof<HuggingFaceLR> kind |> Option.get) kind

                for kind in Schedulers.OfTimm do
                    defaultsAgree (face typeof<TimmLR> kind |> Option.get) kind
            }

            test "GreedyLR has the defaults of its name" {
                let constructor = typeof<GreedyLR>.GetConstructors()[0]

                Expect.sequenceEqual
                    [ for p in constructor.GetParameters()[1..] -> bare (nonNull p.Name) ]
                    [ for setting in GreedyLR.Kind.Settings -> bare setting.Name ]
                    "settings"

                let state (scheduler: LRScheduler) = scheduler.StateDict()

                Expect.equal (state (GreedyLR(plain ()))) (state (Schedulers.HuggingFace("greedy", plain ()))) "defaults"
            }

            test "reduce_lr_on_plateau is ReduceLROnPlateau" {
                let scheduler =
                    Schedulers.HuggingFace(
                        "reduce_lr_on_plateau",
                        plain (),
                        Nullable 5,
                        Nullable 20,
                        [| struct ("patience", OptionValue.Int 0L) |]
                    )

                Expect.equal (scheduler.GetType()) typeof<ReduceLROnPlateau> "type"
                scheduler.Step 1.0
                scheduler.Step 1.0
                expectNear close (rates scheduler.Optimizer) [ 0.01 ] "patience reached it"
            }

            test "an unknown name lists PyTorch's, those of transformers and those of timm" {
                for name in [ "hf:cosin"; "timm:nonsense"; "nonsense" ] do
                    refuses<OptionException>
                        name
                        [
                            "scheduler"
                            name
                            "CosineAnnealingLR"
                            "hf:cosine_with_restarts"
                            "timm:multistep"
                        ]
                        (fun () -> Schedulers.Find name |> ignore)
            }

            test "the state that transformers saves is loaded: that of a LambdaLR whose functions are empty" {
                let saved =
                    Tree.Dict(
                        [|
                            struct ("base_lrs", Tree.ListOf [ Tree.op_Implicit 0.2 ])
                            struct ("last_epoch", Tree.op_Implicit 7)
                            struct ("_step_count", Tree.op_Implicit 8)
                            struct ("_is_initial", Tree.op_Implicit false)
                            struct ("_get_lr_called_within_step", Tree.op_Implicit false)
                            struct ("_last_lr", Tree.ListOf [ Tree.op_Implicit 0.1 ])
                            struct ("lr_lambdas", Tree.ListOf [ Tree.Dict [||] ])
                        |]
                    )

                let optimizer = optimizerOf 0.2 [ 0.2 ] [ None ]
                let scheduler = HuggingFaceLR.Linear(optimizer, 4, 20)
                let report = scheduler.LoadStateDict saved
                Expect.isEmpty report.Unexpected "keys"
                scheduler.Step 8.0
                expectNear close (rates optimizer) [ 0.2 * 12.0 / 16.0 ] "it goes on"
            }

            test "polynomial with a warm-up as long as the training ends at lr_end" {
                let optimizer = plain ()
                let scheduler = HuggingFaceLR.Polynomial(optimizer, 3, 3, lrEnd = 0.01)

                let seen =
                    [
                        for _ in 1..5 do
                            scheduler.Step()
                            List.head (rates optimizer)
                    ]

                expectNear close seen [ 0.1 / 3.0; 0.2 / 3.0; 0.01; 0.01; 0.01 ] "rates"
            }

            test "cycles of timm restart where lengths add up, and shrinking ones end" {
                for growth, length, starts in
                    [
                        3.0, 1.0, [ 1; 4; 13; 40; 121; 364 ]
                        10.0, 1.0, [ 1; 11; 111; 1111 ]
                        1.4, 5.0, [ 5; 12 ]
                    ] do
                    let schedule =
                        Timm.cosine
                            0.0
                            1.0
                            { Timm.cycles length with
                                Growth = growth
                                Limit = 100
                            }

                    for start in starts do
                        Expect.equal (schedule.At(float start, 1.0)) 1.0 $"cycles of {length} times {growth}, at {start}"

                let shrinking =
                    Timm.cosine
                        0.1
                        1.0
                        { Timm.cycles 4.0 with
                            Growth = 0.5
                            Limit = Int32.MaxValue
                        }

                Expect.equal [ for t in [ 8.0; 9.0; 100.0 ] -> shrinking.At(t, 1.0) ] [ 0.1; 0.1; 0.1 ] "all of them take 8 steps"
            }

            test "what timm refuses is refused by name" {
                let make name settings () =
                    Schedulers.Timm(name, plain (), options settings |> Array.ofSeq) |> ignore

                for name, settings, words in
                    [
                        "cosine", [], [ "t_initial" ]
                        "cosine", [ "t_initial", Number 0.0 ], [ "t_initial"; "0" ]
                        "cosine", [ "t_initial", Number 5.0; "lr_min", Number -1.0 ], [ "lr_min"; "-1" ]
                        "cosine", [ "t_initial", Number 5.0; "power", Number 1.0 ], [ "power"; "k_decay" ]
                        "cosine", [ "t_initial", Number 5.0; "warmup_t", Number -1.0 ], [ "warmup_t"; "-1" ]
                        "tanh", [ "t_initial", Number 5.0; "lb", Number 3.0 ], [ "lb"; "3"; "ub" ]
                        "wsd", [ "t_initial", Number 5.0; "decay_t", Number 6.0 ], [ "decay_t"; "6"; "t_initial"; "5" ]
                        "wsd", [ "t_initial", Number 5.0; "decay_t", Number 2.0; "decay_ratio", Number 1.0 ], [ "decay_ratio"; "1" ]
                        "wsd",
                        [ "t_initial", Number 5.0; "decay_t", Number 2.0; "stable_fn", Text "rsqrt" ],
                        [ "stable_timescale"; "warmup_t" ]
                        "wsd",
                        [ "t_initial", Number 5.0; "decay_t", Number 2.0; "decay_fn", Text "x" ],
                        [ "decay_fn"; "x"; "1-sqrt"; "exp" ]
                    ] do
                    refuses<OptionException> $"{name} {settings}" words (make name settings)
            }

            test "a decay of one's own takes the place of timm's, and a loaded state says that it is not saved" {
                let make () =
                    TimmLR.WarmupStableDecay(
                        optimizerOf 1.0 [ 1.0 ] [ None ],
                        10.0,
                        4.0,
                        decayFunction = Func<_, _>(fun way -> 1.0 - way * way)
                    )

                let scheduler = make ()
                scheduler.StepEpoch 8.0
                expectNear close (rates scheduler.Optimizer) [ 0.75 ] "half way down"
                let report = (make ()).LoadStateDict(scheduler.StateDict())
                Expect.exists report.Missing (fun text -> text.Contains "decay_fn") "it says so"
            }

            test "the mean of greedy forgets a NaN once it has left the window" {
                let optimizer = plain ()
                let scheduler = GreedyLR(optimizer, patience = 0, smooth = true, windowSize = 2)

                for metric in [ nan; 3.0; 2.0; 1.0 ] do
                    scheduler.Step metric

                Expect.equal scheduler.Best 1.5 "the best mean"
            }

            test "a group whose lr_scale is no number is refused by name" {
                let optimizer = plain ()
                optimizer.ParamGroups[0].Custom[ "lr_scale" ] <- OptionValue.Text "half"
                refuses<OptionException> "text" [ "lr_scale"; "half" ] (fun () -> HuggingFaceLR.Constant optimizer |> ignore)
                optimizer.ParamGroups[0].Custom[ "lr_scale" ] <- OptionValue.Float -1.0
                refuses<OptionException> "below 0" [ "lr_scale"; "-1" ] (fun () -> StepLR(optimizer, 3) |> ignore)
                Expect.equal (rates optimizer) [ 0.1 ] "nothing has changed"
            }
        ]
