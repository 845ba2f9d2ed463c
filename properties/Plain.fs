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

/// Switches, coefficients at a step, and where each column starts, from options by their names.
let private arithmetic (s: Scenario) : int * (int64 -> Coefficients<Real>) * (string -> float) =
    let number name = Options.number s.Rule name s.Options
    let flag name = Options.flag s.Rule name s.Options
    let bit index on = if on then 1 <<< index else 0
    let zero (_: string) = 0.0
    let lr () = real (number "lr")
    let decays () = number "weight_decay" <> 0.0

    match s.Rule.Name with
    | "Adadelta" ->
        bit 0 (flag "maximize") ||| bit 1 (decays ()),
        (fun _ -> AdadeltaFormula.Coefficients(lr (), real (number "rho"), real (number "eps"), real (number "weight_decay"))),
        zero
    | "Adagrad" ->
        bit 0 (flag "maximize") ||| bit 1 (decays ()),
        (fun step -> AdagradFormula.Coefficients(lr (), real (number "lr_decay"), real (number "eps"), real (number "weight_decay"), step)),
        (fun _ -> number "initial_accumulator_value")
    | "Adamax" ->
        let struct (beta1, beta2) = Options.pair s.Rule "betas" s.Options

        bit 0 (flag "maximize") ||| bit 1 (decays ()) ||| bit 2 (beta1 > 0.5),
        (fun step -> AdamaxFormula.Coefficients(lr (), real beta1, real beta2, real (number "eps"), real (number "weight_decay"), step)),
        zero
    | "Adam"
    | "AdamW" ->
        let struct (beta1, beta2) = Options.pair s.Rule "betas" s.Options
        let decoupled = flag "decoupled_weight_decay"

        bit 0 (flag "maximize")
        ||| bit 1 (decays () && not decoupled)
        ||| bit 2 (decays () && decoupled)
        ||| bit 3 (flag "amsgrad")
        ||| bit 4 (beta1 > 0.5),
        (fun step -> AdamFormula.Coefficients(lr (), real beta1, real beta2, real (number "eps"), real (number "weight_decay"), step)),
        zero
    | "SGD" ->
        bit 0 (flag "maximize")
        ||| bit 1 (decays ())
        ||| bit 2 (number "momentum" <> 0.0)
        ||| bit 3 (flag "nesterov"),
        (fun step ->
            SGDFormula.Coefficients(lr (), real (number "momentum"), real (number "dampening"), real (number "weight_decay"), step)),
        zero
    | "RMSprop" ->
        bit 0 (flag "maximize")
        ||| bit 1 (decays ())
        ||| bit 2 (number "momentum" > 0.0)
        ||| bit 3 (flag "centered")
        ||| bit 4 (flag "centered" && number "alpha" > 0.5),
        (fun _ ->
            RMSpropFormula.Coefficients(
                lr (),
                real (number "alpha"),
                real (number "eps"),
                real (number "weight_decay"),
                real (number "momentum")
            )),
        zero
    | "Rprop" ->
        let struct (minus, plus) = Options.pair s.Rule "etas" s.Options
        let struct (smallest, largest) = Options.pair s.Rule "step_sizes" s.Options

        bit 0 (flag "maximize"),
        (fun _ -> RpropFormula.Coefficients(real minus, real plus, real smallest, real largest)),
        (fun name -> if name = "step_size" then number "lr" else 0.0)
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
    | "SGD" -> either one<SGDFormula, Floats> one<SGDFormula, Doubles>
    | "RMSprop" -> either one<RMSpropFormula, Floats> one<RMSpropFormula, Doubles>
    | _ -> either one<RpropFormula, Floats> one<RpropFormula, Doubles>

/// The end of a scenario of one parameter that always has a gradient, element by element.
let final (s: Scenario) : Snapshot =
    let switches, coefficients, start = arithmetic s
    let step = stepper s
    let names = s.Rule.ColumnNames |> Seq.toArray
    let kept = s.Rule.ColumnsUnder s.Options
    let theta = Array.copy s.Start[0]

    let columns =
        Array.init theta.Length (fun _ -> names |> Array.map (start >> Number.round s.DType))

    Switched.Set switches

    s.History
    |> Array.iteri (fun t row ->
        let coefficients = coefficients (int64 t + 1L)

        Row.only row
        |> Array.iteri (fun i grad ->
            let struct (moved, next) = step coefficients theta[i] grad columns[i]
            theta[i] <- moved
            columns[i] <- next))

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
        Scalars = []
        // SGD without momentum has nothing to count for.
        Counts =
            [|
                if s.Rule.Name = "SGD" && kept.IsEmpty then
                    0L
                else
                    s.History.LongLength
            |]
    }
