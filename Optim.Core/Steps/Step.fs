namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// Steps with what surrounds them, as functions of immutable records:
/// <code>
/// open Optim.Core.Step
/// let surrounded = around [ unscale scaling; clipByGlobalNorm 1.0; average 0.999 averages ]
/// let after = surrounded |> run Adam.rule options parameters gradients state
/// </code>
/// The numbers are those of the functions for themselves, one after the other (LossScaling, Clipping, the rule's step, Average), but
/// memory is visited once, or twice where a norm is needed first.
module Step =
    /// So many calls make a step, by the mean of their gradients; begin with Accumulation.init.
    let accumulate (calls: int) (accumulated: Accumulation) =
        Argument.notNull "accumulated" accumulated
        Surrounding.Accumulate(calls, accumulated)

    /// Undoes a loss scale, looks for gradients that are not finite, and adapts the scale.
    let unscale (scaling: LossScaling) =
        Argument.notNull "scaling" scaling
        Surrounding.Unscale scaling

    /// Clips the Euclidean norm of all gradients together.
    let clipByGlobalNorm (maxNorm: double) =
        Surrounding.ClipByGlobalNorm(maxNorm, 2.0)

    /// Clips the norm of any order, infinity for the largest magnitude, of all gradients together.
    let clipByGlobalNormOf (order: double) (maxNorm: double) =
        Surrounding.ClipByGlobalNorm(maxNorm, order)

    /// Clamps every element to [-limit, limit].
    let clipByValue (limit: double) = Surrounding.ClipByValue limit

    /// An exponential average (EMA) of the parameters takes the new ones in; begin with Average.init.
    let average (decay: double) (state: AverageState) =
        Argument.notNull "state" state
        Surrounding.Average(Averaging.exponential decay, state)

    /// An average of any kind takes the new parameters in: equal weights, with a warm-up, every so many steps.
    let averageBy (averaging: Averaging) (state: AverageState) =
        Argument.notNull "averaging" averaging
        Argument.notNull "state" state
        Surrounding.Average(averaging, state)

    /// Sets gradients to zero after the step, and also where they were added up or the step was left out.
    let zero = Surrounding.Zero

    let private checkOne surrounding =
        match surrounding with
        | Surrounding.Accumulate(calls, accumulated) ->
            Argument.notNull "accumulated" accumulated

            if calls < 1 then
                raise (ArgumentOutOfRangeException("calls", calls, "accumulate: the number of calls that make a step must be at least 1"))
        | Surrounding.Unscale scaling -> LossScaling.check scaling
        | Surrounding.ClipByGlobalNorm(maxNorm, order) ->
            Clipping.checkNorm maxNorm
            Clipping.checkOrder order
        | Surrounding.ClipByValue limit -> Clipping.checkValue limit
        | Surrounding.Average(averaging, state) ->
            Averaging.check averaging
            Argument.notNull "state" state
        | Surrounding.Zero -> ()

    /// What surrounds a step, in the order in which it happens: accumulate, unscale, clipByGlobalNorm, clipByValue, averages, zero; each once
    /// but for averages. An ArgumentException where the order is another one.
    let around (surroundings: Surrounding seq) =
        let items = ImmutableArray.CreateRange(Argument.items "surroundings" surroundings)

        for surrounding in items do
            Argument.notNull "surroundings" surrounding
            checkOne surrounding

        for first, second in Seq.pairwise items do
            if first.Rank > second.Rank then
                raise (ArgumentException($"{second.Label} happens before {first.Label}: let it come first", "surroundings"))

            if first.Rank = second.Rank && first.Label <> "average" then
                raise (
                    ArgumentException(
                        $"{first.Label} is there twice; of what surrounds a step only averages may be several",
                        "surroundings"
                    )
                )

        SurroundedStep items

    let private pick chooser (surrounded: SurroundedStep) =
        surrounded.Surroundings |> Seq.tryPick chooser

    let private accumulated =
        pick (function
            | Surrounding.Accumulate(calls, sum) -> Some struct (calls, sum)
            | _ -> None)

    let private scalingOf =
        pick (function
            | Surrounding.Unscale scaling -> Some scaling
            | _ -> None)

    let private clipOf =
        pick (function
            | Surrounding.ClipByGlobalNorm(maxNorm, order) -> Some struct (maxNorm, order)
            | _ -> None)

    let private limitOf =
        pick (function
            | Surrounding.ClipByValue limit -> Some limit
            | _ -> None)

    let private zeroes (surrounded: SurroundedStep) =
        surrounded.Surroundings |> Seq.exists _.IsZero

    let private averagesOf (surrounded: SurroundedStep) =
        [
            for surrounding in surrounded.Surroundings do
                match surrounding with
                | Surrounding.Average(averaging, state) -> struct (averaging, state)
                | _ -> ()
        ]

    let private clear (gradients: Gradients) =
        for row in 0 .. gradients.Count - 1 do
            if gradients[row].Kind <> GradientKind.Absent then
                gradients[row].Values.Clear()

    /// The averages that move in this step; what does not move yet is counted only.
    let private moving averages =
        ImmutableArray.CreateRange(
            seq {
                for struct (averaging: Averaging, state: AverageState) in averages do
                    if Averaging.moves averaging state.Calls then
                        {
                            Weight = Averaging.weight averaging state.Averaged
                            Rows = state.Rows.Items
                        }
            }
        )

    /// The surroundings of the next step.
    let private after (kind: StepKind) (sum: Accumulation voption) (surrounded: SurroundedStep) =
        SurroundedStep(
            ImmutableArray.CreateRange(
                surrounded.Surroundings,
                fun surrounding ->
                    match surrounding, sum with
                    | Surrounding.Accumulate(calls, _), ValueSome sum -> Surrounding.Accumulate(calls, sum)
                    | Surrounding.Unscale scaling, _ when kind <> StepKind.Accumulated ->
                        Surrounding.Unscale(LossScaling.update (kind = StepKind.Skipped) scaling)
                    | Surrounding.Average(averaging, state), _ when kind = StepKind.Moved ->
                        let averaged =
                            if Averaging.moves averaging state.Calls then
                                Counting.add state.Averaged 1L
                            else
                                state.Averaged

                        Surrounding.Average(averaging, state.Next(averaged, Counting.add state.Calls 1L))
                    | _ -> surrounding
            )
        )

    let private stepBy
        (rule: Rule)
        (options: IOptimizerOptions)
        (parameters: Parameters)
        (given: Gradients)
        (state: State)
        (surrounded: SurroundedStep)
        =
        Rows.given parameters given state
        state.Live()

        let result kind norm state sum =
            if zeroes surrounded && kind <> StepKind.Moved then
                clear given

            {
                Kind = kind
                Parameters = parameters
                Gradients = given
                State = state
                Around = after kind sum surrounded
                Norm = norm
            }

        let averages = averagesOf surrounded

        for struct (_, average) in averages do
            average.Live()

        let scaling, clip = scalingOf surrounded, clipOf surrounded

        if scaling.IsSome then
            SurroundedGroups.RefuseFloat16(parameters, given)

        match accumulated surrounded with
        | Some(struct (calls, sum)) when sum.Calls + 1 < calls ->
            rule.Prepare(options, parameters, given, state) |> ignore
            result StepKind.Accumulated nan state (ValueSome(Accumulation.add given sum))
        | window ->
            let sum =
                match window with
                | Some(struct (_, sum)) -> ValueSome sum
                | None -> ValueNone

            let gradients =
                match sum with
                | ValueSome sum when sum.Calls > 0 -> Accumulation.meanWith given sum
                | _ -> given

            let isMean = not (obj.ReferenceEquals(gradients, given))
            let prepared = rule.Prepare(options, parameters, gradients, state)

            let unscale =
                match scaling with
                | Some scaling -> Nullable(LossScaling.inverse scaling)
                | None -> Nullable()

            let groups = SurroundedGroups()
            groups.RefuseCapture([| prepared |], scaling.IsSome, not averages.IsEmpty, isMean, false)

            let most =
                match clip with
                | Some(struct (maxNorm, _)) -> Nullable maxNorm
                | None -> Nullable()

            let looksThere =
                if scaling.IsSome || clip.IsSome then
                    let order =
                        match clip with
                        | Some(struct (_, order)) -> order
                        | None -> 2.0

                    let factor = if unscale.HasValue then unscale.Value else 1.0
                    groups.Survey.Across <- parameters.Slices
                    groups.Take [| gradients |]
                    let looksThere = groups.LookThere([| prepared |], order, factor, most)

                    if not looksThere then
                        groups.Survey.Run(order, factor, TensorExecutor.OrTeam prepared.Executor)

                    looksThere
                else
                    false

            let surroundings =
                {
                    Unscale = unscale
                    Clip =
                        // Where the device has looked, it has the factor.
                        if most.HasValue then
                            Nullable(if looksThere then 1.0 else groups.ClipTo most.Value)
                        else
                            Nullable()
                    Limit =
                        match limitOf surrounded with
                        | Some limit -> Nullable limit
                        | None -> Nullable()
                    Zeroes = zeroes surrounded && not isMean
                    Averages = moving averages
                }

            groups.Surround([| prepared |], [| surroundings |])

            if groups.Survey.IsFinite then
                groups.Launch [| prepared |]

            let moved =
                if groups.Survey.IsFinite && groups.IsMade [| prepared |] then
                    ValueSome(groups.Complete prepared)
                else
                    ValueNone

            let norm = if clip.IsSome then groups.Survey.Total else nan
            let cleared = sum |> ValueOption.map Accumulation.clear

            match moved with
            | ValueNone -> result StepKind.Skipped norm state cleared
            | ValueSome state ->
                if isMean && zeroes surrounded then
                    clear given

                result StepKind.Moved norm state cleared

    /// A step of a rule and what surrounds it, in place: parameters and averages change, gradients where they are set to zero; the state, the
    /// averages and the accumulated gradients that were given are spent, unless the step was left out.
    let run (rule: Rule<'o>) (options: 'o) (parameters: Parameters) (gradients: Gradients) (state: State) (surrounded: SurroundedStep) =
        Argument.notNull "rule" rule
        Argument.notNull "surrounded" surrounded
        stepBy rule options parameters gradients state surrounded

    /// The same, and it touches nothing that it is given: all that it returns lies in memory of its own.
    let pureRun (rule: Rule<'o>) (options: 'o) (parameters: Parameters) (gradients: Gradients) (state: State) (surrounded: SurroundedStep) =
        Argument.notNull "rule" rule
        Argument.notNull "surrounded" surrounded
        Rows.given parameters gradients state
        // What a step in place refuses: copies share nothing.
        MemoryWatch().Check(rule.Name, parameters, gradients, state.Columns)

        let copied =
            SurroundedStep(
                ImmutableArray.CreateRange(
                    surrounded.Surroundings,
                    fun surrounding ->
                        match surrounding with
                        | Surrounding.Accumulate(calls, sum) -> Surrounding.Accumulate(calls, Accumulation.copy sum)
                        | Surrounding.Average(averaging, state) -> Surrounding.Average(averaging, Average.copy state)
                        | _ -> surrounding
                )
            )

        stepBy rule options (parameters.Copy()) (Clipping.copy gradients) (State.copy state) copied
