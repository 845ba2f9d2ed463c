// Long, because every defect that a law finds has its few lines.
/// Defective optimizers: each does one thing wrong, most of them as some published optimizer once did.
module Mutants

// Options of any rule are an IOptimizerOptions.
#nowarn "3559"

open System
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Optim.Laws.Mutant

/// The subject of a rule, by its name.
let subject (name: string) = Subject.ofRule (Rules.Find name)

/// The next number.
let nudge (view: TensorView) (i: int) =
    if view.DType = DType.Float32 then
        let span = view.AsSpan<float32>()
        span[i] <- MathF.BitIncrement span[i]
    else
        let span = view.AsSpan<float>()
        span[i] <- Math.BitIncrement span[i]

/// One element changed, in any dtype.
let spoil (view: TensorView) (i: int) =
    let values = view.ToDoubles()
    values[i] <- 2.0 * values[i] + 1.0
    view.CopyFrom(Tensor.shaped (Seq.toArray view.Shape) view.DType values)

/// The parameters that have a gradient and elements.
let stepped (parameters: Parameters) (gradients: Gradients) =
    [
        for k in 0 .. parameters.Count - 1 do
            if gradients[k].Kind <> GradientKind.Absent && parameters[k].Count > 0n then
                parameters[k]
    ]

/// What whole vectors leave over is rounded in another way.
let tailDiffers =
    after (fun _ parameters gradients _ ->
        for view in stepped parameters gradients do
            for i in int view.Count / 4 * 4 .. int view.Count - 1 do
                nudge view i)

/// Bytes before the next multiple of 64 are stepped in another way.
let alignmentMatters =
    after (fun _ parameters gradients _ ->
        for view in stepped parameters gradients do
            if int64 view.Address % 64L <> 0L then
                nudge view 0)

/// Columns of all rows set to a number after each step under such options.
let columnBecomesUnder (applies: IOptimizerOptions -> bool) (name: string) (value: float) =
    after (fun options _ _ state ->
        if applies options then
            for row in state[name].Rows do
                if not row.IsAbsent then
                    for i in 0 .. int row.Count - 1 do
                        Tensor.set row i value)

/// Columns of all rows set to a number after each step.
let columnBecomes name value =
    columnBecomesUnder (fun _ -> true) name value

/// A part of the gradient is stepped by once more.
let stepsByGradient =
    after (fun _ parameters gradients _ ->
        for k in 0 .. parameters.Count - 1 do
            if gradients[k].Kind = GradientKind.Dense then
                Array.map2 (fun x g -> x - 1e-2 * g) (parameters[k].ToDoubles()) (gradients[k].Values.ToDoubles())
                |> Tensor.fill parameters[k])

/// Both parts of a complex gradient are divided by its magnitude.
let byMagnitude =
    around (fun step _ parameters gradients state ->
        let divided =
            [
                for k in 0 .. gradients.Count - 1 do
                    let gradient = gradients[k]

                    if gradient.Kind <> GradientKind.Dense || not (gradient.Values.DType.IsComplex()) then
                        gradient
                    else
                        let divide (z: float[]) =
                            let size = sqrt (z[0] * z[0] + z[1] * z[1])
                            z |> Array.map (fun x -> if size > 0.0 then x / size else x)

                        let values =
                            gradient.Values.ToDoubles() |> Array.chunkBySize 2 |> Array.collect divide

                        Gradient.OfDense(Tensor.shaped (Seq.toArray gradient.Values.Shape) gradient.Values.DType values)
            ]

        step parameters (Gradients.Of divided) state)

/// A gradient is read as if it lay in row-major order.
let readsMemoryOrder =
    around (fun step _ parameters gradients state ->
        let flat =
            [
                for k in 0 .. gradients.Count - 1 do
                    let view = gradients[k].Values
                    let layout = Layout.Contiguous(view.DType, ReadOnlySpan(Seq.toArray view.Shape))
                    Gradient.OfDense(TensorView(view.Address, layout, view.Owner))
            ]

        step parameters (Gradients.Of flat) state)

/// A missing gradient is taken for zero, under such options.
let noneIsZeroUnder (applies: IOptimizerOptions -> bool) =
    around (fun step options parameters gradients state ->
        let filled =
            [
                for k in 0 .. gradients.Count - 1 do
                    if gradients[k].Kind = GradientKind.Absent && applies options then
                        Gradient.OfDense(TensorView.Zeros(parameters[k].Layout.ToContiguous()))
                    else
                        gradients[k]
            ]

        step parameters (Gradients.Of filled) state)

/// A missing gradient is taken for zero.
let noneIsZero subject = noneIsZeroUnder (fun _ -> true) subject

/// A gradient of zero is taken for none.
let zeroIsNone =
    around (fun step _ parameters gradients state ->
        let dropped =
            [
                for k in 0 .. gradients.Count - 1 do
                    if
                        gradients[k].Kind = GradientKind.Dense
                        && gradients[k].Values.ToDoubles() |> Array.forall ((=) 0.0)
                    then
                        Gradient.Absent
                    else
                        gradients[k]
            ]

        step parameters (Gradients.Of dropped) state)

/// Nothing is stepped from the first empty parameter on.
let stopsAtEmpty =
    around (fun step _ parameters gradients state ->
        let mutable stopped = false

        let rest =
            [
                for k in 0 .. gradients.Count - 1 do
                    stopped <- stopped || parameters[k].Count = 0n
                    if stopped then Gradient.Absent else gradients[k]
            ]

        step parameters (Gradients.Of rest) state)

/// With the rows and values of sparse gradients replaced by others; values come one array a row.
let withRows (change: (int64 * float[]) list -> (int64 * float[]) list) =
    around (fun step _ parameters gradients state ->
        let changed =
            [
                for k in 0 .. gradients.Count - 1 do
                    let gradient = gradients[k]

                    if gradient.Kind <> GradientKind.Sparse then
                        gradient
                    else
                        let rows = gradient.Rows.AsSpan<int64>().ToArray() |> List.ofArray
                        let columns = int parameters[k].Shape[1]

                        let values =
                            gradient.Values.ToDoubles() |> Array.chunkBySize columns |> List.ofArray

                        let rows, values = List.zip rows values |> change |> List.unzip
                        let indices = Array.ofList rows

                        Gradient.OfSparse(
                            TensorView.Of(ReadOnlySpan indices, ReadOnlySpan [| indices.LongLength |]),
                            Tensor.shaped [| indices.LongLength; int64 columns |] gradient.Values.DType (Array.concat values)
                        )
            ]

        step parameters (Gradients.Of changed) state)

/// Of repeated rows the last one counts.
let lastRowWins subject =
    subject |> withRows (List.rev >> List.distinctBy fst >> List.rev)

/// The pure step moves the parameters that it was given.
let impure (subject: Subject) =
    { subject with
        PureStep =
            fun options parameters gradients state -> struct (parameters, subject.Step options parameters gradients (State.copy state))
    }

/// Every third step is rounded in another way.
let forgetful (subject: Subject) =
    let mutable calls = 0

    subject
    |> after (fun _ parameters gradients _ ->
        calls <- calls + 1

        if calls % 3 = 0 then
            for view in stepped parameters gradients do
                nudge view 0)

/// Decay of the L2 kind is done in the decoupled way.
let shrinksForL2 (subject: Subject) =
    { subject with
        Step =
            fun options parameters gradients state ->
                let rule = subject.Rule

                let keep =
                    1.0
                    - Options.number rule "lr" options * Options.number rule "weight_decay" options

                for view in stepped parameters gradients do
                    Tensor.fill view (view.ToDoubles() |> Array.map (fun x -> keep * x))

                subject.Step (Options.set [ "weight_decay", Options.ofNumber 0.0 ] rule options) parameters gradients state
    }

/// Adam by a formula of our own, with other coefficients: options are the product's, `change` maps lr, beta1, beta2, eps, decay and step.
let adamBy<'f when 'f: struct and 'f: (new: unit -> 'f) and 'f :> ValueType and 'f :> IFormula>
    columns
    (name: string)
    (change: float * float * float * float * float * int64 -> float * float * float * float * float * int64)
    : Subject =
    let original = Rules.Find name

    let arithmetic =
        { new Arithmetic<AdamOptions>() with
            member _.Switches o =
                Switch.bit AdamFormula.Maximize o.Maximize
                ||| Switch.bit AdamFormula.L2 (o.WeightDecay <> 0.0 && not o.DecoupledWeightDecay)
                ||| Switch.bit AdamFormula.Decoupled (o.WeightDecay <> 0.0 && o.DecoupledWeightDecay)
                ||| Switch.bit AdamFormula.Amsgrad o.Amsgrad

            member _.Coefficients(read, o, step) =
                let struct (beta1, beta2) = o.Betas

                let lr, beta1, beta2, eps, decay, step =
                    change (o.Lr, beta1, beta2, o.Eps, o.WeightDecay, step.Count)

                let read (x: float) = read.Of("", x)
                AdamFormula.Coefficients(read lr, read beta1, read beta2, read eps, read decay, StepNumber<_> step)
        }

    let defaults = unbox<AdamOptions> original.Defaults

    Subject.ofRule (
        Rule.elementWise<AdamOptions, 'f> name defaults Adam.options columns arithmetic
        |> Rule.declare Adam.declarations
    )

/// The product's formula with other coefficients.
let adam name change =
    adamBy<AdamFormula> Adam.columns name change

/// SGD's options for formulas of our own.
let private sgdFields: Field<SGDOptions> list =
    [
        Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
        Field.number "momentum" (Interval.atLeast 0.0) _.Momentum (fun o v -> { o with Momentum = v })
        Field.number "dampening" (Interval.atLeast 0.0) _.Dampening (fun o v -> { o with Dampening = v })
        Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
        Field.flag "nesterov" _.Nesterov (fun o v -> { o with Nesterov = v })
        Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
    ]

let private twoNumbers =
    { new Arithmetic<SGDOptions>() with
        member _.Switches o = if o.Maximize then 1 else 0

        member _.Coefficients(read, o, _) =
            Coefficients<_>(read.Of("lr", o.Lr), read.Of("weight_decay", o.WeightDecay))
    }

/// SGD by a formula of our own.
let sgdBy<'f when 'f: struct and 'f: (new: unit -> 'f) and 'f :> ValueType and 'f :> IFormula> () : Subject =
    Subject.ofRule (Rule.elementWise<SGDOptions, 'f> "SGD" SGD.defaults sgdFields [] twoNumbers)

/// The first momentum is the gradient and once more the gradient.
let firstTwice: Subject =
    let arithmetic =
        { new Arithmetic<SGDOptions>() with
            member _.Switches o =
                Switch.bit SGDFormula.Maximize o.Maximize
                ||| Switch.bit SGDFormula.L2 (o.WeightDecay <> 0.0)
                ||| Switch.bit SGDFormula.Momentum (o.Momentum <> 0.0)
                ||| Switch.bit SGDFormula.Nesterov o.Nesterov

            member _.Coefficients(read, o, step) =
                let take = if step.IsFirst then 1.0 + o.Momentum else 1.0 - o.Dampening
                let of' (x: float) = read.Of("", x)
                Coefficients<_>(of' o.Lr, of' o.Momentum, of' o.Momentum, of' take, of' o.WeightDecay)
        }

    Subject.ofRule (
        Rule.elementWise<SGDOptions, SGDFormula>
            "SGD"
            SGD.defaults
            sgdFields
            [ zeros "momentum_buffer" (fun o -> o.Momentum <> 0.0) ]
            arithmetic
    )

/// NAdam by an arithmetic that begins with another mu_product, or hands another one to the formula.
let nadam (start: float) (change: NAdamOptions -> float -> float) : Subject =
    let original = NAdam.arithmetic

    let arithmetic =
        { new Arithmetic<NAdamOptions>() with
            member _.Switches o = original.Switches o

            member arithmetic.Coefficients(read, o, step) =
                arithmetic.Coefficients(read, o, step, arithmetic.Start(read, o))

            member _.Scalars = original.Scalars
            member _.Start(read, _) = Scalars(read.Of("", start))
            member _.Next(read, o, step, before) = original.Next(read, o, step, before)

            member _.Coefficients(read, o, step, before) =
                original.Coefficients(read, o, step, Scalars(Formula.(*) before.First (read.Of("", change o 1.0))))
        }

    Subject.ofRule (Rule.elementWise<NAdamOptions, NAdamFormula> "NAdam" NAdam.defaults NAdam.options NAdam.columns arithmetic)

/// RAdam that rectifies by the length of another step.
let radam (counted: int64 -> int64) : Subject =
    let arithmetic =
        { new Arithmetic<RAdamOptions>() with
            member _.Switches o = RAdam.arithmetic.Switches o

            member _.Switches(o, step) =
                RAdam.arithmetic.Switches(o, counted step)

            member _.Coefficients(read, o, step) =
                RAdam.arithmetic.Coefficients(read, o, step)
        }

    Subject.ofRule (Rule.elementWise<RAdamOptions, RAdamFormula> "RAdam" RAdam.defaults RAdam.options RAdam.columns arithmetic)

/// The dynamic map of bitsandbytes: an exponent of base 10 and linear steps within it.
let dynamicMap isSigned =
    [|
        for exponent in 0..6 do
            let items =
                if isSigned then
                    (1 <<< exponent) + 1
                else
                    (1 <<< (exponent + 1)) + 1

            let bounds = Array.init items (fun i -> 0.1 + 0.9 * double i / double (items - 1))

            for i in 0 .. items - 2 do
                let mean = (bounds[i] + bounds[i + 1]) / 2.0 * Math.Pow(10.0, double (exponent - 6))
                mean

                if isSigned then
                    -mean

        0.0
        1.0
    |]
    |> Array.sort

/// State of Adam as bitsandbytes and torchao keep it where it is to be narrow: the nearest of 256 numbers times the largest of a block, zero among
/// them; of second moments, if so, their roots.
let keepsStateAsPackages isRoot (subject: Subject) =
    let nearest (map: double array) (values: double array) =
        let largest = values |> Array.map abs |> Array.max

        if largest = 0.0 then
            values
        else
            values
            |> Array.map (fun x ->
                let x = x / largest
                let found = Array.BinarySearch(map, x)
                let above = if found >= 0 then found else min (map.Length - 1) ~~~found
                let below = max 0 (above - 1)

                largest
                * (if abs (map[above] - x) <= abs (map[below] - x) then
                       map[above]
                   else
                       map[below]))

    let signed, unsigned = dynamicMap true, dynamicMap false

    let squares =
        if isRoot then
            Array.map sqrt >> nearest unsigned >> Array.map (fun root -> root * root)
        else
            nearest unsigned

    let keep change (column: Column) =
        let row = column[0]

        row.ToDoubles()
        |> Array.chunkBySize 256
        |> Array.collect change
        |> Tensor.fill row

    subject
    |> withOptions (fun rule options -> rule.Replace(options, "state_storage", OptionValue.Text "float32"))
    |> after (fun options _ _ state ->
        if string (subject.Rule.Read(options, "state_storage")) = "blockwise8" then
            keep (nearest signed) state["exp_avg"]
            keep squares state["exp_avg_sq"])
