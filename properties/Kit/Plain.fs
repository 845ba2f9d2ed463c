/// The formulas on one plain number at a time: a lane of our own, beside those of the kernels.
module Plain

// An interface with a static abstract member, for the dtype as a type.
#nowarn "3535"

open System
open System.Collections.Concurrent
open Optim.Core
open Optim.Kernels
open Optim.Laws

/// How many cases ran, by what they tested.
module Cases =
    let private counts = ConcurrentDictionary<string, int>()

    /// So many more.
    let add (what: string) (count: int) =
        counts.AddOrUpdate(what, count, (fun _ before -> before + count)) |> ignore

    /// All of them, in words.
    let summary () =
        counts
        |> Seq.sortBy _.Key
        |> Seq.map (fun entry -> string entry.Value + " " + entry.Key)
        |> String.concat ", "

/// A dtype as a type.
type IPrecision =
    /// float32 or float64.
    static abstract DType: DType

[<Struct>]
type Floats =
    interface IPrecision with
        static member DType = DType.Float32

[<Struct>]
type Doubles =
    interface IPrecision with
        static member DType = DType.Float64

/// One number with the operations of a lane, each worked out in float64 and rounded once more, which for + - * / and roots is
/// the same as rounding once. Masks are 1 and 0.
[<Struct; NoEquality; NoComparison>]
type PlainLane<'p when 'p :> IPrecision> =
    {
        Value: float
    }

    static member Rounded(x: float) : PlainLane<'p> = { Value = Number.round 'p.DType x }

    static member Mask(holds: bool) : PlainLane<'p> =
        { Value = (if holds then 1.0 else 0.0) }

    interface ITakes<PlainLane<'p>, Real> with
        static member From number = PlainLane<'p>.Rounded number.Value

    interface ILane<PlainLane<'p>> with
        static member Of value = PlainLane<'p>.Rounded value

        static member op_Addition(a, b) =
            PlainLane<'p>.Rounded(a.Value + b.Value)

        static member op_Subtraction(a, b) =
            PlainLane<'p>.Rounded(a.Value - b.Value)

        static member op_Multiply(a, b) =
            PlainLane<'p>.Rounded(a.Value * b.Value)

        static member op_Division(a, b) =
            PlainLane<'p>.Rounded(a.Value / b.Value)

        static member op_UnaryNegation a = PlainLane<'p>.Rounded(-a.Value)

        static member Fma(a, b, c) =
            PlainLane<'p>.Rounded(Number.fma 'p.DType a.Value b.Value c.Value)

        static member Sqrt a = PlainLane<'p>.Rounded(sqrt a.Value)
        static member Exp a = PlainLane<'p>.Rounded(exp a.Value)
        static member Log a = PlainLane<'p>.Rounded(log a.Value)

        static member Cbrt a =
            PlainLane<'p>.Rounded(Math.Cbrt a.Value)

        static member Abs a = PlainLane<'p>.Rounded(abs a.Value)
        static member Greater(a, b) = PlainLane<'p>.Mask(a.Value > b.Value)

        static member IsNaN a =
            PlainLane<'p>.Mask(Double.IsNaN a.Value)

        static member Select(mask, yes, no) = if mask.Value = 0.0 then no else yes

/// Switches read from a variable, one for all combinations.
[<Struct>]
type Switched =
    [<ThreadStatic; DefaultValue>]
    static val mutable private on: int

    static member Set(switches: int) = Switched.on <- switches

    interface ISwitches with
        static member On index = (Switched.on >>> index) &&& 1 = 1

let private one<'f, 'p when 'f :> IFormula and 'p :> IPrecision>
    (coefficients: Coefficients<Real>)
    (param: float)
    (grad: float)
    (columns: float[])
    =
    let lane (x: float) : PlainLane<'p> = { Value = x }
    let coefficients = coefficients.To<PlainLane<'p>>()
    let mutable param = lane param

    let c =
        Array.init 6 (fun i -> lane (if i < columns.Length then columns[i] else 0.0))

    'f.UpdateAll<PlainLane<'p>, Switched>(&coefficients, &param, lane grad, &c[0], &c[1], &c[2], &c[3], &c[4], &c[5])
    struct (param.Value, Array.init columns.Length (fun i -> c[i].Value))

let private real (x: float) = Real x

/// What a rule does, from options by their names.
type private Arithmetic =
    {
        /// At a step.
        Switches: int64 -> int
        /// At a step, from the numbers kept for the parameter.
        Coefficients: int64 -> Scalars<Real> -> Coefficients<Real>
        /// Where a column starts.
        Column: string -> float
        /// The kept numbers before the first step, and after a step.
        Scalars: Scalars<Real>
        Next: int64 -> Scalars<Real> -> Scalars<Real>
    }

let private arithmetic (s: Scenario) : Arithmetic =
    let number name = Options.number s.Rule name s.Options
    let real' name = real (number name)
    let flag name = Options.flag s.Rule name s.Options
    let bit index on = if on then 1 <<< index else 0
    let lr () = real (number "lr")
    let decays () = number "weight_decay" <> 0.0
    let decoupled () = flag "decoupled_weight_decay"

    let kinds () =
        bit 0 (flag "maximize")
        ||| bit 1 (decays () && not (decoupled ()))
        ||| bit 2 (decays () && decoupled ())

    let simple switches coefficients =
        {
            Switches = fun _ -> switches
            Coefficients = fun step _ -> coefficients step
            Column = fun _ -> 0.0
            Scalars = Scalars<Real>()
            Next = fun _ before -> before
        }

    match s.Rule.Name with
    | "Adadelta" ->
        simple (bit 0 (flag "maximize") ||| bit 1 (decays ())) (fun _ ->
            AdadeltaFormula.Coefficients(lr (), real' "rho", real' "eps", real' "weight_decay"))
    | "Adagrad" ->
        { simple (bit 0 (flag "maximize") ||| bit 1 (decays ())) (fun step ->
              AdagradFormula.Coefficients(lr (), real' "lr_decay", real' "eps", real' "weight_decay", StepNumber<Real> step)) with
            Column = fun _ -> number "initial_accumulator_value"
        }
    | "Adamax" ->
        let struct (beta1, beta2) = Options.pair s.Rule "betas" s.Options

        simple (bit 0 (flag "maximize") ||| bit 1 (decays ()) ||| bit 2 (beta1 > 0.5)) (fun step ->
            AdamaxFormula.Coefficients(lr (), real beta1, real beta2, real' "eps", real' "weight_decay", StepNumber<Real> step))
    | "Adam"
    | "AdamW" ->
        let struct (beta1, beta2) = Options.pair s.Rule "betas" s.Options

        simple (kinds () ||| bit 3 (flag "amsgrad") ||| bit 4 (beta1 > 0.5)) (fun step ->
            AdamFormula.Coefficients(lr (), real beta1, real beta2, real' "eps", real' "weight_decay", StepNumber<Real> step))
    | "ASGD" ->
        { simple (bit 0 (flag "maximize") ||| bit 1 (decays ())) (fun _ -> Unchecked.defaultof<_>) with
            Coefficients = fun _ kept -> ASGDFormula.Coefficients(kept.First, kept.Second, real' "lambd", real' "weight_decay")
            Scalars = ASGDFormula.Start(lr ())
            Next =
                fun step _ ->
                    ASGDFormula.Next(lr (), real' "lambd", real' "alpha", real' "t0", float step - number "t0" > 1.0, StepNumber<Real> step)
        }
    | "NAdam" ->
        let struct (beta1, beta2) = Options.pair s.Rule "betas" s.Options

        let beta1, beta2, eps, decay =
            real beta1, real beta2, real' "eps", real' "weight_decay"

        let growth = real' "momentum_decay"

        { simple (kinds () ||| bit 3 (beta1.Value > 0.5)) (fun _ -> Unchecked.defaultof<_>) with
            Coefficients =
                fun step kept -> NAdamFormula.Coefficients(lr (), beta1, beta2, eps, decay, growth, kept.First, StepNumber<Real> step)
            Scalars = NAdamFormula.Start()
            Next = fun step kept -> NAdamFormula.Next(kept.First, beta1, growth, StepNumber<Real> step)
        }
    | "RAdam" ->
        let struct (beta1, beta2) = Options.pair s.Rule "betas" s.Options
        let rectified step = RAdamFormula.Rectifies(beta2, step)

        { simple 0 (fun step ->
              RAdamFormula.Coefficients(
                  lr (),
                  real beta1,
                  real beta2,
                  real' "eps",
                  real' "weight_decay",
                  rectified step,
                  StepNumber<Real> step
              )) with
            Switches = fun step -> kinds () ||| bit 3 (rectified step) ||| bit 4 (beta1 > 0.5)
        }
    | "SGD" ->
        simple
            (bit 0 (flag "maximize")
             ||| bit 1 (decays ())
             ||| bit 2 (number "momentum" <> 0.0)
             ||| bit 3 (flag "nesterov"))
            (fun step -> SGDFormula.Coefficients(lr (), real' "momentum", real' "dampening", real' "weight_decay", StepNumber<Real> step))
    | "RMSprop" ->
        simple
            (bit 0 (flag "maximize")
             ||| bit 1 (decays ())
             ||| bit 2 (number "momentum" > 0.0)
             ||| bit 3 (flag "centered")
             ||| bit 4 (flag "centered" && number "alpha" > 0.5))
            (fun _ -> RMSpropFormula.Coefficients(lr (), real' "alpha", real' "eps", real' "weight_decay", real' "momentum"))
    | "Rprop" ->
        let struct (minus, plus) = Options.pair s.Rule "etas" s.Options
        let struct (smallest, largest) = Options.pair s.Rule "step_sizes" s.Options

        { simple (bit 0 (flag "maximize")) (fun _ -> RpropFormula.Coefficients(real minus, real plus, real smallest, real largest)) with
            Column = fun name -> if name = "step_size" then number "lr" else 0.0
        }
    | other -> invalidArg "s" ("no plain arithmetic for " + other)

let private stepper (s: Scenario) =
    let either floats doubles =
        if s.DType = DType.Float32 then floats else doubles

    match s.Rule.Name with
    | "Adadelta" -> either one<AdadeltaFormula, Floats> one<AdadeltaFormula, Doubles>
    | "Adagrad" -> either one<AdagradFormula, Floats> one<AdagradFormula, Doubles>
    | "Adam"
    | "AdamW" -> either one<AdamFormula, Floats> one<AdamFormula, Doubles>
    | "Adamax" -> either one<AdamaxFormula, Floats> one<AdamaxFormula, Doubles>
    | "ASGD" -> either one<ASGDFormula, Floats> one<ASGDFormula, Doubles>
    | "NAdam" -> either one<NAdamFormula, Floats> one<NAdamFormula, Doubles>
    | "RAdam" -> either one<RAdamFormula, Floats> one<RAdamFormula, Doubles>
    | "SGD" -> either one<SGDFormula, Floats> one<SGDFormula, Doubles>
    | "RMSprop" -> either one<RMSpropFormula, Floats> one<RMSpropFormula, Doubles>
    | _ -> either one<RpropFormula, Floats> one<RpropFormula, Doubles>

/// The end of a scenario of one parameter that always has a gradient, element by element; parameters are stored rounded by `store`.
let finalStored (store: float -> float) (s: Scenario) : Snapshot =
    let arithmetic = arithmetic s
    let mutable scalars = arithmetic.Scalars
    let step = stepper s
    let names = s.Rule.ColumnNames |> Seq.toArray
    let kept = s.Rule.ColumnsUnder s.Options
    let theta = Array.copy s.Start[0]

    let columns =
        Array.init theta.Length (fun _ -> names |> Array.map (arithmetic.Column >> Number.round s.DType))

    for t in 1 .. s.History.Length do
        Switched.Set(arithmetic.Switches(int64 t))
        let coefficients = arithmetic.Coefficients (int64 t) scalars
        scalars <- arithmetic.Next (int64 t) scalars

        Row.only s.History[t - 1]
        |> Array.iteri (fun i grad ->
            let struct (moved, next) = step coefficients theta[i] grad columns[i]
            theta[i] <- store moved
            columns[i] <- next)

    {
        DType = s.DType
        Theta = [| theta |]
        State =
            [
                for c in 0 .. names.Length - 1 do
                    let row =
                        if kept.Contains names[c] then
                            ValueSome(columns |> Array.map (fun element -> element[c]))
                        else
                            ValueNone

                    names[c], [| row |]
            ]
        Scalars =
            [
                for name, value in Seq.zip s.Rule.ScalarNames [ scalars.First; scalars.Second ] do
                    name, [| (if s.History.Length = 0 then nan else value.Value) |]
            ]
        Counts = [| s.History.LongLength |]
    }

/// The same, parameters stored as wide as the arithmetic.
let final (s: Scenario) : Snapshot = finalStored id s
