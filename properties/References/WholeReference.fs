/// Adafactor and Muon once more, straight from their papers, in double precision and with nothing but loops: the judge of the rules of whole tensors.
module WholeReference

open System
open Reference

/// A tensor in row-major order, what the rule remembers of it, and its steps.
type Tensor =
    {
        Shape: int list
        Theta: float[]
        Slots: Map<string, float[]>
        Steps: int
    }

let tensor shape theta =
    {
        Shape = shape
        Theta = theta
        Slots = Map.empty
        Steps = 0
    }

let private slot name length tensor =
    tensor.Slots
    |> Map.tryFind name
    |> Option.defaultWith (fun () -> Array.zeroCreate length)

let private rms (values: float[]) =
    sqrt ((values |> Array.sumBy (fun x -> x * x)) / float values.Length)

type AdafactorOptions =
    {
        Lr: float
        Beta2Decay: float
        Eps1: float
        Eps2: float
        D: float
        WeightDecay: float
        Maximize: bool
    }

let private number name (settings: Settings) =
    match settings[name] with
    | Number value -> value
    | other -> failwithf "%s is %O, not a number" name other

/// PyTorch's constructors.
let wholeDefaults: Map<string, Settings> =
    Map
        [
            "Adafactor",
            Map
                [
                    "lr", Number 1e-2
                    "beta2_decay", Number -0.8
                    "eps", Several [ Unset; Number 1e-3 ]
                    "d", Number 1.0
                    "weight_decay", Number 0.0
                    "maximize", Flag false
                ]
            "Muon",
            Map
                [
                    "lr", Number 1e-3
                    "weight_decay", Number 0.1
                    "momentum", Number 0.95
                    "nesterov", Flag true
                    "ns_coefficients", Several [ Number 3.4445; Number -4.7750; Number 2.0315 ]
                    "eps", Number 1e-7
                    "ns_steps", Number 5.0
                    "adjust_lr_fn", Unset
                ]
        ]

/// Adafactor's options; `least` is the first eps where none is given.
let adafactorOptions (least: float) (settings: Settings) =
    let eps1, eps2 =
        match settings["eps"] with
        | Pair(first, second)
        | Several [ Number first; Number second ] -> first, second
        | Several [ Unset; Number second ] -> least, second
        | other -> failwithf "eps is %O" other

    {
        Lr = number "lr" settings
        Beta2Decay = number "beta2_decay" settings
        Eps1 = eps1
        Eps2 = eps2
        D = number "d" settings
        WeightDecay = number "weight_decay" settings
        Maximize = settings["maximize"] = Flag true
    }

/// Algorithm 4 and 5 of arXiv:1804.04235 in PyTorch's form: the last two dimensions are a matrix, those before them count matrices.
let adafactor (o: AdafactorOptions) (x: Tensor) (gradient: float[]) =
    let t = x.Steps + 1
    let moved = Math.Pow(float t, o.Beta2Decay)

    let mean (old: float[]) (fresh: float[]) =
        Array.map2 (fun old fresh -> (1.0 - moved) * old + moved * fresh) old fresh

    let g =
        if o.Maximize then
            Array.map (fun g -> -g) gradient
        else
            gradient

    let squares = Array.map (fun g -> g * g) g

    let slots, variance =
        match List.rev x.Shape with
        | columns :: rows :: _ ->
            let matrices =
                if rows * columns = 0 then
                    0
                else
                    g.Length / (rows * columns)

            let at matrix i j = (matrix * rows + i) * columns + j

            let row =
                Array.init (matrices * rows) (fun k ->
                    Seq.averageBy (fun j -> squares[at (k / rows) (k % rows) j]) (seq { 0 .. columns - 1 }))
                |> mean (slot "row_var" (matrices * rows) x)

            let column =
                Array.init (matrices * columns) (fun k ->
                    Seq.averageBy (fun i -> squares[at (k / columns) i (k % columns)]) (seq { 0 .. rows - 1 }))
                |> mean (slot "col_var" (matrices * columns) x)

            let variance =
                Array.init g.Length (fun k ->
                    let matrix = k / (rows * columns)
                    let mean = Seq.averageBy (fun i -> row[matrix * rows + i]) (seq { 0 .. rows - 1 })
                    row[k / columns] * column[matrix * columns + k % columns] / max mean o.Eps1)

            Map [ "row_var", row; "col_var", column ], variance
        | _ ->
            let variance = mean (slot "variance" g.Length x) squares
            Map [ "variance", variance ], variance

    let update = Array.map2 (fun g v -> g / max (sqrt v) o.Eps1) g variance
    // As Python's max(bound, value): the bound where the value is NaN.
    let atLeast bound value = if value > bound then value else bound
    let alpha = atLeast o.Eps2 (rms x.Theta) * min o.Lr (1.0 / sqrt (float t))
    let clip = atLeast 1.0 (rms update / o.D)

    let keep =
        if o.WeightDecay = 0.0 then
            1.0
        else
            1.0 - o.Lr * o.WeightDecay

    { x with
        Theta = Array.map2 (fun p u -> p * keep - alpha * u / clip) x.Theta update
        Slots = slots
        Steps = t
    }

type MuonOptions =
    {
        Lr: float
        WeightDecay: float
        Momentum: float
        Nesterov: bool
        A: float
        B: float
        C: float
        Eps: float
        Steps: int
        Adjust: string
    }

/// Muon's options.
let muonOptions (settings: Settings) =
    let a, b, c =
        match settings["ns_coefficients"] with
        | Several [ Number a; Number b; Number c ] -> a, b, c
        | other -> failwithf "ns_coefficients are %O" other

    {
        Lr = number "lr" settings
        WeightDecay = number "weight_decay" settings
        Momentum = number "momentum" settings
        Nesterov = settings["nesterov"] = Flag true
        A = a
        B = b
        C = c
        Eps = number "eps" settings
        Steps = int (number "ns_steps" settings)
        Adjust =
            match settings["adjust_lr_fn"] with
            | Text text -> text
            | _ -> ""
    }

let private product rows inner columns (a: int -> int -> float) (b: int -> int -> float) =
    let result = Array2D.zeroCreate rows columns

    for i in 0 .. rows - 1 do
        for j in 0 .. columns - 1 do
            for k in 0 .. inner - 1 do
                result[i, j] <- result[i, j] + a i k * b k j

    result

/// Muon as its authors wrote it down, with the means of PyTorch.
let muon (o: MuonOptions) (x: Tensor) (gradient: float[]) =
    let rows, columns = x.Shape[0], x.Shape[1]

    let buffer =
        Array.map2 (fun b g -> o.Momentum * b + (1.0 - o.Momentum) * g) (slot "momentum_buffer" gradient.Length x) gradient

    let direction =
        if o.Nesterov then
            Array.map2 (fun b g -> (1.0 - o.Momentum) * g + o.Momentum * b) buffer gradient
        else
            buffer

    let norm = max (sqrt (direction |> Array.sumBy (fun d -> d * d))) o.Eps
    let turned = rows > columns
    let r, c = min rows columns, max rows columns

    let mutable m =
        Array2D.init r c (fun i j ->
            (if turned then
                 direction[j * columns + i]
             else
                 direction[i * columns + j])
            / norm)

    for _ in 1 .. o.Steps do
        let now = m
        let square = product r c r (fun i k -> now[i, k]) (fun k j -> now[j, k])
        let fourth = product r r r (fun i k -> square[i, k]) (fun k j -> square[k, j])

        let polynomial =
            Array2D.init r r (fun i j -> o.B * square[i, j] + o.C * fourth[i, j])

        let turn = product r r c (fun i k -> polynomial[i, k]) (fun k j -> now[k, j])
        m <- Array2D.init r c (fun i j -> o.A * now[i, j] + turn[i, j])

    let ratio = float rows / float columns

    let factor =
        match o.Adjust with
        | "match_rms_adamw" -> 0.2 * sqrt (float c)
        | "spectral_unclamped" -> sqrt ratio
        | _ -> sqrt (max 1.0 ratio)

    let final = m

    { x with
        Theta =
            Array.mapi
                (fun k p ->
                    let i, j = k / columns, k % columns
                    let o' = if turned then final[j, i] else final[i, j]
                    p * (1.0 - o.Lr * o.WeightDecay) - o.Lr * factor * o')
                x.Theta
        Slots = Map [ "momentum_buffer", buffer ]
        Steps = x.Steps + 1
    }
