/// Numbers in double precision that carry a bound of their own rounding error.
module ErrorBounds

/// A number that remembers the size of what it was made of: where terms cancel, Size is larger than |Value|, and
/// an honest result may be off by some u times Size. Beyond what a first-order bound can say, Size is infinite.
[<Struct; CustomEquality; NoComparison>]
type Real =
    {
        Value: float
        Size: float
    }

    override this.Equals other =
        match other with
        | :? Real as other -> this.Value = other.Value
        | _ -> false

    override this.GetHashCode() = this.Value.GetHashCode()

    static member (+)(a: Real, b: Real) =
        {
            Value = a.Value + b.Value
            Size = a.Size + b.Size
        }

    static member (~-)(a: Real) = { a with Value = -a.Value }
    static member (-)(a: Real, b: Real) = a + -b

    static member (*)(a: Real, b: Real) =
        {
            Value = a.Value * b.Value
            Size = max (abs a.Value * b.Size) (abs b.Value * a.Size)
        }

    static member (/)(a: Real, b: Real) =
        {
            Value = a.Value / b.Value
            Size =
                if b.Size > 1e4 * abs b.Value then
                    infinity
                else
                    max (a.Size / abs b.Value) (abs a.Value * b.Size / (b.Value * b.Value))
        }

    static member Sqrt(a: Real) =
        let root = sqrt a.Value

        {
            Value = root
            Size =
                if a.Size = 0.0 then 0.0
                elif a.Size > 1e4 * abs a.Value then infinity
                else a.Size / root
        }

    /// The larger of two, either of which may have rounded; NaN spreads.
    static member Max(a: Real, b: Real) =
        {
            Value = max a.Value b.Value
            Size = max a.Size b.Size
        }

let real value = { Value = value; Size = abs value }
