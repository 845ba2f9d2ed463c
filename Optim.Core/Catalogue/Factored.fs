/// Rules of the catalogue that keep numbers of rows, columns or runs in place of elements.
module internal Optim.Core.FactoredFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.TransformParts
open Optim.Core.WholeParts
open Optim.Core.Wholes
open Optim.Kernels

let private rule = defineWhole RuleFamily.Factored

let private adalite =
    rule
        "Adalite"
        "the Adalite repository (VatsaDev); no paper"
        "Moments of rows and columns, weighed by softmaxes of their means, with the gradient as long as the parameter."
        [ "pytorch_optimizer.Adalite" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.01 true
            let least = r.Number("g_norm_min", 1e-10, positive)
            let leastRatio = r.Number("ratio_min", 1e-4, nonNegative)
            let tau = r.Number("tau", 1.0, positive)
            let eps1 = r.Number("eps1", 1e-6, nonNegative)
            let eps2 = r.Number("eps2", 1e-10, nonNegative)
            let x, g = decay.Applied(r, lr)

            let g =
                if g.Count = 1n then
                    g
                else
                    g * (norm r.Parameter / (norm g |> atLeast least) |> atLeast leastRatio)

            if r.Rank < 2 then
                let m = average r "m_avg" beta1 g
                let v = average r "v_avg" beta2 ((g - m) * (g - m))

                x - lr * (beta1 * m + (1.0 - beta1) * g) / sqrt (v / r.Correction beta2 + eps1)
            else
                let softmax (x: WholeTensor) =
                    let powers = exp (x - x.Largest(0, 1))
                    powers / powers.Sum()

                let g = g.Flattened
                let rows, columns = g.Length 0, g.Length 1

                let ofRows, ofColumns =
                    r.Column("v_avg_0", [ rows; 1L ]), r.Column("v_avg_1", [ 1L; columns ])

                let old = ofRows * ofColumns / (ofRows.Sum() |> atLeast eps2)

                let m =
                    r.Column("m_avg_c", [ rows; 1L ])
                    * r.Column("m_avg_u", [ 1L; 1L ])
                    * r.Column("m_avg_r", [ 1L; columns ])

                let m = moved beta1 m g
                let v = moved beta2 old ((g - m) * (g - m))
                let rowMeans, columnMeans = v.Mean(1, 1), v.Mean(0, 0)
                let trust = softmax rowMeans * softmax columnMeans
                let m = trust * m + (1.0 - trust) * g
                let total = v.Sum() |> atLeast eps2
                r.Set("v_avg_0", v.Sum(1, 1))
                r.Set("v_avg_1", v.Sum(0, 0) / total)
                let c = (m * softmax (columnMeans / tau)).Sum(1, 1)
                let ofColumn = (m * softmax (rowMeans / tau)).Sum(0, 0)
                r.Set("m_avg_c", c)
                r.Set("m_avg_r", ofColumn)

                let length = (c * c).Sum() * (ofColumn * ofColumn).Sum() |> atLeast eps2

                r.Set("m_avg_u", (c * m * ofColumn).Sum() / length)
                let u = beta1 * m + (1.0 - beta1) * g

                x - lr * (u / sqrt (v / r.Correction beta2 + eps1) |> shapedAs x))

let private sm3 =
    rule
        "SM3"
        "Anil et al. 2019, arXiv:1901.11150"
        "Adagrad that keeps the largest sums of squares along each dimension only."
        [ "pytorch_optimizer.SM3" ]
        (fun r ->
            let lr = learningRate r 0.1
            let momentum = r.Number("momentum", 0.0, fraction)
            let beta = r.Number("beta", 0.0, fraction)
            let eps = r.Number("eps", 1e-30, nonNegative)
            r.OptOut("U5", "with a beta of 0 squares add up, and with any other they are averaged")
            let g = r.Gradient
            let rank = max 1 r.Rank

            let along i =
                [ for j in 0 .. rank - 1 -> if j = i then g.Length i else 1L ]

            let covers = [ for i in 0 .. rank - 1 -> r.Column($"accumulator_{i}", along i) ]
            let v = covers |> List.reduce smaller

            let v = if beta = 0.0 then v + g * g else moved beta v (g * g)

            for i, cover in List.indexed covers do
                let before = if i = 0 then v else v.Largest(0, i - 1)

                let most =
                    if i = rank - 1 then
                        before
                    else
                        before.Largest(i + 1, rank - 1)

                r.Set($"accumulator_{i}", (if beta > 0.0 then larger cover most else most))

            let u = g / sqrt (v + eps)

            r.Parameter
            - lr
              * (if momentum > 0.0 then
                     average r "momentum_buffer" momentum u
                 else
                     u))
    |> differs "With beta the kept numbers never fall, so that nothing is forgotten."

let private racs =
    rule
        "RACS"
        "Gong et al. 2025, arXiv:2502.07752"
        "Gradients divided by the roots of mean squares of rows and of columns, whose norm may grow by a little only."
        [ "pytorch_optimizer.RACS" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let beta = r.Number("beta", 0.9, fraction)
            let alpha = r.Number("alpha", 0.05, nonNegative)
            let gamma = r.Number("gamma", 1.01, positive)
            let decay = weightDecay r 0.0 true
            let eps = r.Number("eps", 1e-8, nonNegative)
            let x, g = decay.Applied(r, lr)
            let g = g.Flattened
            let rows, columns = g.Length 0, g.Length 1
            let squares = g * g
            let s = moved beta (r.Column("s", [ rows ]).Reshaped(rows, 1L)) (squares.Mean(1, 1))

            let q = r.Column("q", [ columns ], (fun () -> r.Parameter.Constant 0.0 + 1.0))

            let q = if r.IsFirst then q else q.Reshaped(1L, columns)
            let q = moved beta q (squares.Mean(0, 0))
            r.Set("s", s.Reshaped rows)
            r.Set("q", q.Reshaped columns)
            let u = g / (sqrt (s + eps) * sqrt (q + eps))
            let length, before = norm u, number r "theta" 0.0

            let limit =
                if r.IsFirst then
                    u.Constant 1.0
                else
                    gamma / (length / (before + eps) |> atLeast gamma)

            r.Set("theta", (length * limit).Reshaped 1L)
            x - lr * alpha * shapedAs x (limit * u))
    |> differs "Means of squares of rows and columns are plain ones; in the paper each is weighed by the other."

let private nero =
    rule
        "Nero"
        "Liu et al. 2021, arXiv:2102.07227"
        "Each row of a matrix on a sphere of its own, and steps by the norms of its gradients."
        [ "pytorch_optimizer.Nero" ]
        (fun r ->
            let lr = learningRate r 0.01
            let beta = r.Number("beta", 0.999, fraction)
            let isConstrained = r.Flag("constraints", true)
            let eps = r.Number("eps", 1e-8, nonNegative)
            r.OptOut("U1", "the minimum need not lie on the spheres of the rows")
            r.OptOut("U4", "rows are put on their spheres, whatever the rate is")
            r.OptOut("U3", "rows are put back on their spheres, which moves elements whatever their gradient is")

            let rowNorm (x: WholeTensor) =
                if r.Rank < 2 then abs x else x.Norm(1, -1)

            let constrained (x: WholeTensor) =
                if isConstrained && r.Rank > 1 then
                    let x = x - x.Mean(1, -1)
                    x / (rowNorm x + eps)
                else
                    x

            let x = if r.IsFirst then constrained r.Parameter else r.Parameter

            let scale =
                r.Column(
                    "scale",
                    [],
                    (fun () ->
                        let mean = (rowNorm x).Mean()
                        WholeTensor.WhereGreater(mean, 0.0, mean, mean.Constant 0.01))
                )

            let length = rowNorm r.Gradient
            let old = r.Column("exp_avg_sq", length.Shape)
            let v = moved beta old (length * length)
            r.Set("exp_avg_sq", v)
            r.Set("scale", scale.Reshaped 1L)
            let u = r.Gradient / (sqrt (v / r.Correction beta) + eps)
            // NaN counts as 0.
            let none, lowest = u.Constant 0.0, Double.NegativeInfinity

            let u =
                WholeTensor.WhereGreater(u, lowest, u, WholeTensor.WhereGreater(-u, lowest, u, none))

            constrained (x - lr * scale * u))

let private rose =
    rule
        "ROSE"
        "Matthew K., the Rose repository; no paper"
        "Gradients divided by the range of their row, without any state."
        [ "pytorch_optimizer.ROSE" ]
        (fun r ->
            r.OptOut("E4", "the divisor of a vector is the magnitude of its largest element less its least one")
            let lr = learningRate r 1e-3

            let decay =
                {
                    Amount = r.Number("weight_decay", 1e-4, nonNegative)
                    IsDecoupled = false
                    IsFixed = false
                }

            let isScheduled = r.Flag("wd_schedule", false)

            let decay =
                { decay with
                    IsDecoupled = r.Flag("weight_decouple", false)
                    IsFixed = r.Flag("fixed_decay", false)
                }

            r.Require(
                "wd_schedule",
                not isScheduled || decay.IsDecoupled && not decay.IsFixed,
                "it is for decay of the parameter in proportion to the rate"
            )

            let isCentralized = r.Flag("centralize", true)
            let isStabilized = r.Flag("stabilize", true)
            r.OptOut("U1", "a row of one element is its own mean, and does not move")
            r.OptOut("E9", "a number moves by its gradient's sign, and a vector by its gradient over the range of all")
            r.OptOut("U3", "the mean of a row is taken off its gradient, which turns single elements against their sign")
            let isWide = r.Choice("compute_dtype", "float64", "float64", "") = "float64"
            let dtype = r.Parameter.DType

            let wide (x: WholeTensor) =
                if isWide then x.To DType.Float64 else x

            let p, g = wide r.Parameter, wide r.Gradient
            let g = decay.Gradient(p, g)

            let p =
                if isScheduled then
                    let first = number r "initial_lr" lr
                    r.Set("initial_lr", first)
                    p * (1.0 - lr / wide first * decay.Amount)
                else
                    decay.Parameter(p, lr)

            let u =
                if r.Rank = 0 then
                    signs g
                else
                    let g = if isCentralized && r.Rank > 1 then g - g.Mean(1, -1) else g

                    let range (first: int) =
                        abs (g.Largest(first, -1)) - g.Smallest(first, -1)

                    let divisor =
                        if r.Rank = 1 then
                            range 0
                        elif not isStabilized then
                            range 1
                        else
                            let ranges = range 1
                            let mean = ranges.Mean()
                            let away = ranges - mean
                            let deviation = rms away
                            mean + mean / (deviation + mean) * away

                    let one = divisor.Constant 1.0
                    g / WholeTensor.WhereGreater(abs divisor, 0.0, divisor, one)

            (p - lr * u).To dtype)
    |> differs "Parameters of bfloat16 are rounded to the nearest, where the package rounds at random."

let private adamWSN =
    rule
        "AdamWSN"
        "Nguyen, Nguyen 2024, arXiv:2411.07120"
        "AdamW that keeps one second moment, of the norm, for each run of elements."
        [ "pytorch_optimizer.AdamWSN" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 true
            let size = r.Whole("subset_size", -1, Interval.any)
            let eps = r.Number("eps", 1e-8, nonNegative)
            let isOfSubsets = r.Flag("sn", false)

            r.Require(
                "subset_size",
                size <> 0,
                "it is a number of elements, or, where it is negative, by what the root of their number is divided"
            )

            let g = decay.Gradient(r.Parameter, r.Gradient)
            let m = firstMoment r beta1 g

            let root =
                if isOfSubsets then
                    let count = int64 g.Count

                    let most =
                        if size > 0 then
                            int64 size
                        else
                            max 1L (int64 (sqrt (double count) / double -size))

                    let length =
                        seq { min most count .. -1L .. 1L } |> Seq.find (fun k -> count % k = 0L)

                    let runs = g.Reshaped(count / length, length)
                    let old = r.Column("exp_avg_sq", [ count / length; 1L ])
                    let v = moved beta2 old ((runs * runs).Sum(1, 1))
                    r.Set("exp_avg_sq", v)
                    sqrt v
                else
                    sqrt (secondMoment r beta2 g)

            let rate = lr * sqrt (r.Correction beta2) / r.Correction beta1

            let u =
                if isOfSubsets then
                    let runs =
                        m.Reshaped(root.Length 0, m.Count / max 1n (nativeint (root.Length 0)) |> int64)

                    runs / (root + eps) |> shapedAs m
                else
                    m / (root + eps)

            decay.Parameter(r.Parameter - rate * u, lr))
    |> differs "weight_decouple False adds the decay to the gradient before it is used, where the package adds it after."

let all = [ adalite; adamWSN; nero; racs; rose; sm3 ]
