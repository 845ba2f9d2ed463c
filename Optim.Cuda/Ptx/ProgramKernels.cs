using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>The kernels of a program, for parameters of a dtype: those that its visits are launched as.</summary>
internal static class ProgramKernels
{
    /// <summary>The kernels in order, with what each is for.</summary>
    public static IReadOnlyList<(string Purpose, PtxKernel Kernel)> Of(StepProgram program, DType dtype)
    {
        var kernels = new List<(string, PtxKernel)>();
        var (run, visits, isWhole) = (new ProgramRun(program), program.VisitsFor(dtype), NumberCode.Has(program));
        for (var i = 0; i < visits.Length; i++)
        {
            var code = visits[i].Code;
            if (code.IsEmpty)
                continue;
            var numbers = run.NumbersFor(i, dtype).Code;
            var inMemory = NumbersAreInMemory(
                code,
                isWhole ? !numbers.IsOfStep : visits[i].Numbers.Any(number => program.Scopes[number] == Scope.Tensor)
            );
            var visit = FormattableString.Invariant($"visit {i + 1} of {visits.Length}");
            if (isWhole && inMemory && !numbers.IsOfStep)
                kernels.Add(($"{visit}: the numbers that it takes", NumbersKernel.Render(numbers, null)));
            if (code.Reductions.Length == 0)
            {
                kernels.Add(($"{visit}: each element", ElementKernel.Render(code, inMemory)));
                continue;
            }
            kernels.Add(($"{visit}: each element, and 32 running sums of each block of 4096", SumsKernel.Render(code, inMemory)));
            foreach (var isLargest in code.Reductions.Select(reduction => reduction.Kind == Operation.LargestMagnitude).Distinct().Order())
            {
                kernels.Add(($"{visit}: the running sums of each block", JoinKernel.OfBlocks(isLargest)));
                kernels.Add(($"{visit}: the blocks of each tensor", JoinKernel.OfSlices(isLargest)));
            }
            if (isWhole)
                foreach (var isLargest in LargestOfAll(program, visits[i]))
                    kernels.Add(($"{visit}: all tensors together", TotalsKernel.OfParts(isLargest)));
        }
        var end = run.NumbersFor(visits.Length, dtype).Code;
        if (isWhole && end.Stores.Length > 0)
            kernels.Add(("after the last visit: the numbers that tensors keep", NumbersKernel.Render(end, null)));
        return kernels;
    }

    private static IEnumerable<bool> LargestOfAll(StepProgram program, Visit visit) =>
        visit
            .Reductions.Where(reduction => program.Scopes[reduction] == Scope.AllTensors)
            .Select(reduction => program.Nodes[reduction].Operation == Operation.LargestMagnitude)
            .Distinct()
            .Order();

    /// <summary>Bytes of numbers up to which they are handed in with a launch.</summary>
    public const int MostParameterBytes = 2048;

    /// <summary>Whether numbers are read from memory: where each slice has its own, or there are too many to hand them in.</summary>
    public static bool NumbersAreInMemory(KernelCode code, bool eachHasNumbers) =>
        code.Numbers > 0 && (eachHasNumbers || code.Numbers * code.Size > MostParameterBytes);
}
