namespace Optim.Core

open System
open System.Collections.Immutable
open System.Globalization

/// The value of an option or of a group's entry in a state dict: what Python writes as None, True, 3, 0.1, 'cos' or (0.9, 0.999).
/// Compared by content. In C#, numbers, texts, flags and tuples of numbers convert to it, and it is cast back to them.
[<RequireQualifiedAccess; CustomEquality; NoComparison>]
type OptionValue =
    /// Not given.
    | None
    /// A flag.
    | Bool of bool
    /// A whole number.
    | Int of int64
    /// A number.
    | Float of double
    /// A text.
    | Text of string
    /// Several values; in F# <c>OptionValue.Tuple(Items [ first; second ])</c> matches two.
    | Tuple of ImmutableArray<OptionValue>

    /// As PyTorch prints it, in the invariant culture.
    override value.ToString() =
        match value with
        | None -> "None"
        | Bool flag -> if flag then "True" else "False"
        | Int number -> number.ToString CultureInfo.InvariantCulture
        | Float number when Double.IsNaN number -> "nan"
        | Float number when Double.IsInfinity number -> if number > 0.0 then "inf" else "-inf"
        | Float number -> number.ToString("R", CultureInfo.InvariantCulture).ToLowerInvariant()
        | Text text -> text
        | Tuple values -> "(" + String.Join(", ", values) + ")"

    /// Numbers of equal value are equal, whole or not; NaN equals NaN.
    override value.Equals other =
        match value, other with
        | Int a, (:? OptionValue as b) ->
            match b with
            | Int b -> a = b
            | Float b -> double a = b
            | _ -> false
        | Float a, (:? OptionValue as b) ->
            match b with
            | Int b -> a = double b
            | Float b -> a.Equals b
            | _ -> false
        | Bool a, (:? OptionValue as b) ->
            match b with
            | Bool b -> a = b
            | _ -> false
        | Text a, (:? OptionValue as b) ->
            match b with
            | Text b -> a = b
            | _ -> false
        | Tuple a, (:? OptionValue as b) ->
            match b with
            | Tuple b ->
                a.Length = b.Length
                && Seq.forall2 (fun (a: OptionValue) (b: OptionValue) -> a.Equals b) a b
            | _ -> false
        | None, (:? OptionValue as b) -> b.IsNone
        | _ -> false

    /// Agrees with Equals.
    override value.GetHashCode() =
        match value with
        | Int number -> (double number).GetHashCode()
        | Float number -> number.GetHashCode()
        | Bool flag -> hash flag
        | Text text -> hash text
        | Tuple values -> values.Length
        | None -> 0

    /// Several values.
    static member TupleOf(values: OptionValue seq) =
        Tuple((Argument.items "values" values).ToImmutableArray())

    /// A number.
    static member op_Implicit(value: double) = Float value
    /// A whole number.
    static member op_Implicit(value: int64) = Int value
    /// A whole number.
    static member op_Implicit(value: int) = Int(int64 value)
    /// A flag.
    static member op_Implicit(value: bool) = Bool value

    /// A flag, or None.
    static member op_Implicit(value: Nullable<bool>) =
        if value.HasValue then Bool value.Value else None

    /// A number, or None.
    static member op_Implicit(value: Nullable<double>) =
        if value.HasValue then Float value.Value else None

    /// A whole number, or None.
    static member op_Implicit(value: Nullable<int>) =
        if value.HasValue then Int(int64 value.Value) else None

    /// A text.
    static member op_Implicit(value: string | null) : OptionValue =
        match value with
        | null -> None
        | text -> Text text

    /// Two numbers.
    static member op_Implicit(value: struct (double * double)) =
        let struct (first, second) = value
        OptionValue.TupleOf [ Float first; Float second ]

    /// Three numbers.
    static member op_Implicit(value: struct (double * double * double)) =
        let struct (first, second, third) = value
        OptionValue.TupleOf [ Float first; Float second; Float third ]

    /// Two numbers, or None.
    static member op_Implicit(value: Nullable<struct (double * double)>) =
        if value.HasValue then
            OptionValue.op_Implicit value.Value
        else
            None

    member private value.Refuse(kind: string) : 'a =
        raise (InvalidCastException($"{value} is not {kind}"))

    /// The number; an InvalidCastException when it is none.
    static member op_Explicit(value: OptionValue) : double =
        Argument.notNull "value" value

        match value with
        | Float number -> number
        | Int number -> double number
        | _ -> value.Refuse "a number"

    /// The flag; an InvalidCastException when it is none.
    static member op_Explicit(value: OptionValue) : bool =
        Argument.notNull "value" value

        match value with
        | Bool flag -> flag
        | _ -> value.Refuse "a flag"

    /// The flag or null; an InvalidCastException when it is neither.
    static member op_Explicit(value: OptionValue) : Nullable<bool> =
        Argument.notNull "value" value

        match value with
        | None -> Nullable()
        | Bool flag -> Nullable flag
        | _ -> value.Refuse "a flag"

    /// The whole number; an InvalidCastException when it is none.
    static member op_Explicit(value: OptionValue) : int64 =
        Argument.notNull "value" value

        match value with
        | Int number -> number
        | Float number when Math.Floor number = number && abs number < 9e15 -> int64 number
        | _ -> value.Refuse "a whole number"

    /// The text; an InvalidCastException when it is none.
    static member op_Explicit(value: OptionValue) : string =
        Argument.notNull "value" value

        match value with
        | Text text -> text
        | _ -> value.Refuse "a text"

    /// The two numbers; an InvalidCastException when it is something else.
    static member op_Explicit(value: OptionValue) : struct (double * double) =
        Argument.notNull "value" value

        match value with
        | Tuple values when values.Length = 2 -> struct (OptionValue.op_Explicit values[0], OptionValue.op_Explicit values[1])
        | _ -> value.Refuse "a pair of numbers"

/// Matching the values of options, in F#.
[<AutoOpen>]
module OptionValuePatterns =
    /// The items of an immutable array as a list: <c>| OptionValue.Tuple(Items [ first; second ]) -> ...</c>
    let (|Items|) (items: ImmutableArray<'a>) =
        if items.IsDefault then [] else List.ofSeq items
