namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// What the columns of a definition hold, found in its formulas: which are never below 0, as second moments are, and which hold what parameters are
/// made of, as slow weights and averages of parameters do.
module internal ColumnKinds =
    let private everything = struct (Double.NegativeInfinity, Double.PositiveInfinity)
    let private positive = struct (0.0, Double.PositiveInfinity)

    /// Bounds of an option's number, as far as they are found by trying.
    let private ofInterval (range: Interval) =
        let holds = List.exists range.Holds

        let low =
            if holds [ -1e9; -2.0; -1.0; -0.5; -1e-3; -1e-9 ] then
                Double.NegativeInfinity
            else
                0.0

        let high =
            if holds [ 1.0 + 1e-9; 1.001; 1.5; 2.0; 10.0; 1e9 ] then
                Double.PositiveInfinity
            else
                1.0

        struct (low, high)

    let private ofOptions (options: DefinedOption seq) =
        let known = Dictionary<string, struct (double * double)>(StringComparer.Ordinal)

        for option in options do
            let ranges =
                match option.Kind with
                | Number range
                | NumberOr(_, range)
                | Whole range -> [ ofInterval range ]
                | Several ranges
                | SeveralOrNone ranges -> ranges |> List.map ofInterval
                | Switch -> [ struct (0.0, 1.0) ]
                | OneOf _ -> []

            if ranges.Length = option.Numbers.Length then
                for number, range in List.zip option.Numbers ranges do
                    known[number] <- range

        known

    /// Bounds of a value, where some columns are known to be at least 0.
    let private bounds (options: Dictionary<string, struct (double * double)>) (nonNegative: HashSet<string>) =
        let known = Dictionary<Expression, struct (double * double)>(HashIdentity.Reference)

        let product (a: double) (b: double) =
            if a = 0.0 || b = 0.0 then 0.0 else a * b

        let products (struct (a, b)) (struct (c, d)) =
            let all = [ product a c; product a d; product b c; product b d ]
            struct (List.min all, List.max all)

        let same (a: Expression) (b: Expression) = obj.ReferenceEquals(a, b)

        let rec of' (value: Expression) : struct (double * double) =
            match known.TryGetValue value with
            | true, found -> found
            | _ ->
                let found = make value
                known[value] <- found
                found

        and isNonNegative value =
            let struct (low, _) = of' value
            low >= 0.0

        and isShare value =
            let struct (low, high) = of' value
            low >= 0.0 && high <= 1.0

        /// Whether x + weight (y - x) lies between two numbers that are at least 0.
        and isBetween (x: Expression) (weight: Expression) (difference: Expression) =
            difference.Operation = Operation.Subtract
            && same difference.Operands[1] x
            && isShare weight
            && isNonNegative x
            && isNonNegative difference.Operands[0]

        /// Whether a b is a square times something that is at least 0.
        and isSquare (a: Expression) (b: Expression) =
            let weighted (x: Expression) (y: Expression) =
                x.Operation = Operation.Multiply
                && (same x.Operands[0] y && isNonNegative x.Operands[1]
                    || same x.Operands[1] y && isNonNegative x.Operands[0])

            same a b || weighted a b || weighted b a

        and isStep (x: Expression) (change: Expression) =
            change.Operation = Operation.Multiply
            && (isBetween x change.Operands[0] change.Operands[1]
                || isBetween x change.Operands[1] change.Operands[0])

        and isStepBack (x: Expression) (change: Expression) =
            let back (weight: Expression) (difference: Expression) =
                difference.Operation = Operation.Subtract
                && same difference.Operands[0] x
                && isShare weight
                && isNonNegative x
                && isNonNegative difference.Operands[1]

            change.Operation = Operation.Multiply
            && (back change.Operands[0] change.Operands[1]
                || back change.Operands[1] change.Operands[0])

        and make (value: Expression) : struct (double * double) =
            let operand index = of' value.Operands[index]

            match value.Operation with
            | Operation.Constant -> struct (value.Value, value.Value)
            | Operation.Option ->
                match options.TryGetValue value.Name with
                | true, range -> range
                | _ -> everything
            | Operation.StepCount -> struct (1.0, Double.PositiveInfinity)
            | Operation.ElementCount
            | Operation.LeadingCount -> positive
            | Operation.Input ->
                if nonNegative.Contains value.Name then
                    positive
                else
                    everything
            | Operation.Number
            | Operation.Rounded -> operand 0
            | Operation.Add when
                isStep value.Operands[0] value.Operands[1]
                || isStep value.Operands[1] value.Operands[0]
                ->
                positive
            | Operation.Add ->
                let struct (a, b), struct (c, d) = operand 0, operand 1
                struct (a + c, b + d)
            | Operation.Subtract when isStepBack value.Operands[0] value.Operands[1] -> positive
            | Operation.Subtract ->
                let struct (a, b), struct (c, d) = operand 0, operand 1
                struct (a - d, b - c)
            | Operation.Negate ->
                let struct (a, b) = operand 0
                struct (-b, -a)
            | Operation.Multiply when isSquare value.Operands[0] value.Operands[1] -> positive
            | Operation.Multiply -> products (operand 0) (operand 1)
            | Operation.Fma when isBetween value.Operands[2] value.Operands[0] value.Operands[1] -> positive
            | Operation.Fma when isBetween value.Operands[2] value.Operands[1] value.Operands[0] -> positive
            | Operation.Fma ->
                let struct (a, b) =
                    if isSquare value.Operands[0] value.Operands[1] then
                        positive
                    else
                        products (operand 0) (operand 1)

                let struct (c, d) = operand 2
                struct (a + c, b + d)
            | Operation.Divide ->
                if isNonNegative value.Operands[0] && isNonNegative value.Operands[1] then
                    positive
                else
                    everything
            | Operation.Sqrt
            | Operation.Exp
            | Operation.Abs -> positive
            | Operation.Cbrt ->
                if isNonNegative value.Operands[0] then
                    positive
                else
                    everything
            | Operation.Power ->
                let struct (low, high), struct (power, _) = operand 0, operand 1

                if low >= 0.0 && high <= 1.0 && power >= 0.0 then
                    struct (0.0, 1.0)
                elif low >= 0.0 then
                    positive
                else
                    everything
            | Operation.Max ->
                let struct (a, b), struct (c, d) = operand 0, operand 1
                struct (max a c, max b d)
            | Operation.Min ->
                let struct (a, b), struct (c, d) = operand 0, operand 1
                struct (min a c, min b d)
            | Operation.Sign -> struct (-1.0, 1.0)
            | Operation.Select ->
                let struct (a, b), struct (c, d) = operand 1, operand 2
                struct (min a c, max b d)
            | _ -> everything

        of'

    /// Whether a value is made of the parameter, or of columns that are; weight decay, which adds a small part of it to gradients, does not count.
    let private isOfParameter (columns: HashSet<string>) =
        let known = Dictionary<Expression, bool>(HashIdentity.Reference)

        let rec isDecay (value: Expression) =
            if value.Operation = Operation.Number then
                isDecay value.Operands[0]
            elif value.Scope = Scope.Element then
                false
            else
                value.Operation = Operation.Option
                && value.Name.EndsWith("weight_decay", StringComparison.Ordinal)
                || value.Operands.ToArray() |> Array.exists isDecay

        let rec of' (value: Expression) =
            match known.TryGetValue value with
            | true, found -> found
            | _ ->
                let found = make value
                known[value] <- found
                found

        and make (value: Expression) =
            let operands = value.Operands.ToArray()

            match value.Operation with
            | Operation.Input -> value.Name = StepProgram.Parameter || columns.Contains value.Name
            | Operation.Multiply when Array.exists isDecay operands -> false
            | Operation.Fma when isDecay operands[0] || isDecay operands[1] -> of' operands[2]
            | _ -> Array.exists of' operands

        of'

    /// What each column holds, by what becomes of it under every setting of the flags and for every kind of parameters. Columns that are named stay wide.
    let find (columns: DefinedColumn array) (recordings: RecordedDefinition list) (wide: string seq) : ColumnKind array =
        let options =
            ofOptions (recordings |> Seq.collect _.Options |> Seq.distinctBy _.Name)

        let startsAbove (column: DefinedColumn) =
            if column.StartOption = "" then
                column.Start >= 0.0
            else
                match options.TryGetValue column.StartOption with
                | true, struct (low, _) -> low >= 0.0
                | _ -> false

        let values =
            [
                for recording in recordings do
                    for assignment in recording.Assignments do
                        if not assignment.IsTensorNumber && assignment.Array <> StepProgram.Parameter then
                            assignment
            ]

        let nonNegative =
            HashSet<string>(columns |> Seq.filter startsAbove |> Seq.map _.Name, StringComparer.Ordinal)

        let mutable changes = true

        while changes do
            changes <- false
            let bounds = bounds options nonNegative

            for assignment in values do
                let struct (low, _) = bounds assignment.Value

                if not (low >= 0.0) && nonNegative.Remove assignment.Array then
                    changes <- true

        let ofParameter = HashSet<string>(StringComparer.Ordinal)
        changes <- true

        while changes do
            changes <- false
            let isOfParameter = isOfParameter ofParameter

            for assignment in values do
                if not (ofParameter.Contains assignment.Array) && isOfParameter assignment.Value then
                    changes <- ofParameter.Add assignment.Array

        columns
        |> Array.map (fun column ->
            if
                column.IsTensorNumber
                || ofParameter.Contains column.Name
                || Seq.contains column.Name wide
            then
                ColumnKind.Wide
            elif nonNegative.Contains column.Name then
                ColumnKind.NonNegative
            else
                ColumnKind.Signed)
