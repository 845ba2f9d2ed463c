namespace Optim.Kernels;

/// <summary>How often a value of a program is worked out: once a step, once a tensor, or for each element.</summary>
internal enum Scope
{
    /// <summary>One number a step, from options and the step count.</summary>
    Step,

    /// <summary>One number a step, which depends on all tensors that step together.</summary>
    AllTensors,

    /// <summary>One number for each tensor.</summary>
    Tensor,

    /// <summary>A number for each element.</summary>
    Element,
}

/// <summary>What a node of a program does.</summary>
internal enum Operation : byte
{
    // Numbers of the step, in double.

    /// <summary>A constant; in an expression of elements it is rounded to their type.</summary>
    Constant,

    /// <summary>An option's number, by its name.</summary>
    Option,

    /// <summary>A number that is kept from step to step, by its name.</summary>
    Kept,

    /// <summary>A number that the caller hands in, by its name.</summary>
    Given,

    /// <summary>The step, counted from 1.</summary>
    StepCount,

    /// <summary>Elements of the tensor.</summary>
    ElementCount,

    /// <summary>The product of the lengths of the tensor's first dimensions, by how many.</summary>
    LeadingCount,

    /// <summary>A number that is kept for the tensor, by the name of its array, which holds nothing else.</summary>
    TensorNumber,

    /// <summary>a to the power of b; of elements, where they are not negative, as <see cref="ILane{V}.Pow"/>.</summary>
    Power,

    /// <summary>The largest whole number up to a: of numbers of the step and the tensor only.</summary>
    Floor,

    /// <summary>The imaginary error function: of numbers of the step only.</summary>
    Erfi,

    // Elements.

    /// <summary>An array's element, by the array's name.</summary>
    Input,

    /// <summary>A number of the step or the tensor in every element, rounded to the type of the arithmetic.</summary>
    Number,
    Add,
    Subtract,
    Multiply,
    Divide,
    Negate,
    Sqrt,
    Exp,
    Log,
    Cbrt,

    /// <summary>a b + c, rounded once.</summary>
    Fma,
    Abs,

    /// <summary>The larger one, as <see cref="ILane{V}.Max"/>.</summary>
    Max,

    /// <summary>The smaller one, as <see cref="ILane{V}.Min"/>.</summary>
    Min,

    /// <summary>1, -1 or 0; 0 for NaN.</summary>
    Sign,

    /// <summary>Whether a is larger than b: a mask.</summary>
    Greater,

    /// <summary>Whether a is NaN: a mask.</summary>
    IsNaN,

    /// <summary>b where the mask a holds, c elsewhere.</summary>
    Select,

    /// <summary>What a load would find after a store to the parameter: rounded where parameters are of a half type.</summary>
    Rounded,

    // Spreads: what is made of many elements, in each of these. A visit takes the elements in, block by block, and later ones read
    // what they came to as if it lay in an array; the number is how many first dimensions count.

    /// <summary>The sum of all elements with the same first indices.</summary>
    SumOfRow,

    /// <summary>The sum of their squares.</summary>
    SumOfSquaresOfRow,

    /// <summary>The sum of all elements that differ in the first indices only.</summary>
    SumOfColumn,

    /// <summary>The sum of their squares.</summary>
    SumOfSquaresOfColumn,

    /// <summary>A standard normal number for each element, by the seed a, the step b and the place of the element.</summary>
    Noise,

    // Elements as they lie in memory, and 32-bit words, which half types are made of.

    /// <summary>An element of the type of the arithmetic, by the array's place.</summary>
    Load,

    /// <summary>16 bits of an element, in 32, by the array's place.</summary>
    LoadWords,
    Bits,
    And,
    Or,
    AddBits,
    ShiftLeft,
    ShiftRight,
    GreaterBits,

    /// <summary>As <see cref="IBinary{V}.Scale"/>; exponential functions, logarithms and cube roots are spelled out by it and the next two.</summary>
    Scale,

    /// <summary>As <see cref="IBinary{V}.Exponent"/>.</summary>
    Exponent,

    /// <summary>As <see cref="IBinary{V}.Significand"/>.</summary>
    Significand,

    // Reductions, by the fixed tree.

    /// <summary>The sum of all elements, in double.</summary>
    Sum,

    /// <summary>The sum of the squares of all elements, in double.</summary>
    SumOfSquares,

    /// <summary>The largest magnitude of all elements; NaN where there is one.</summary>
    LargestMagnitude,

    // What devices reduce beside that; no program has it.

    /// <summary>The sum of the magnitudes of all elements, in double.</summary>
    SumOfMagnitudes,

    /// <summary>The sum of the products of the elements of two arrays, in double.</summary>
    SumOfProducts,
}

/// <summary>What can be asked of an <see cref="Operation"/>.</summary>
internal static class Operations
{
    /// <summary>Whether it makes one number of all elements.</summary>
    public static bool IsReduction(this Operation operation) => operation >= Operation.Sum;

    /// <summary>Whether it makes an array that the next visit reads.</summary>
    public static bool IsSpread(this Operation operation) => operation is >= Operation.SumOfRow and <= Operation.Noise;

    /// <summary>Whether it is a spread that is made of elements, which a visit before it works out.</summary>
    public static bool IsSum(this Operation operation) => operation is >= Operation.SumOfRow and <= Operation.SumOfSquaresOfColumn;

    /// <summary>Whether it sums rows.</summary>
    public static bool IsOfRows(this Operation operation) => operation is Operation.SumOfRow or Operation.SumOfSquaresOfRow;

    /// <summary>Whether it is a mask, which only Select reads.</summary>
    public static bool IsMask(this Operation operation) => operation is Operation.Greater or Operation.IsNaN or Operation.GreaterBits;
}
