using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>The kernels of a program, for parameters of a dtype: those that its visits are launched as.</summary>
internal static class ProgramKernels
{
    /// <summary>The kernels in order, with what each is for.</summary>
    public static IReadOnlyList<(string Purpose, PtxKernel Kernel)> Of(StepProgram program, DType dtype)
    {
        var kernels = new List<(string, PtxKernel)>();
        var visits = program.VisitsFor(dtype);
        for (var i = 0; i < visits.Length; i++)
        {
            var visit = visits[i];
            var purpose = FormattableString.Invariant($"visit {i + 1} of {visits.Length}");
            if (visit.Made.Length + visit.Taken.Length == 0)
            {
                kernels.AddRange(OfElements(program, visit.Code, visit.Numbers, purpose));
                continue;
            }
            var there = new DeviceVisit(program, visit);
            foreach (var made in visit.Made)
                if (made.Work is { } work)
                    kernels.Add(
                        (
                            $"{purpose}: what is made of totals",
                            ElementKernel.Render(work.Visit.Code, InMemory(program, work.Visit.Code, work.Visit.Numbers))
                        )
                    );
            foreach (var sums in there.Sums)
                kernels.AddRange(OfSums(sums, InMemory(program, sums.Code, visit.Numbers), purpose));
            kernels.AddRange(OfElements(program, there.Rest, visit.Numbers, purpose));
        }
        return kernels;
    }

    private static IEnumerable<(string, PtxKernel)> OfElements(StepProgram program, KernelCode code, int[] numbers, string purpose)
    {
        if (code.IsEmpty)
            yield break;
        var inMemory = InMemory(program, code, numbers);
        if (code.Reductions.Length == 0)
        {
            yield return ($"{purpose}: each element", ElementKernel.Render(code, inMemory));
            yield break;
        }
        yield return ($"{purpose}: each element, and 32 running sums of each block of 4096", SumsKernel.Render(code, inMemory));
        foreach (var isLargest in code.Reductions.Select(reduction => reduction.Kind == Operation.LargestMagnitude).Distinct().Order())
        {
            yield return ($"{purpose}: the running sums of each block", JoinKernel.OfBlocks(isLargest));
            yield return ($"{purpose}: the blocks of each tensor", JoinKernel.OfSlices(isLargest));
        }
    }

    private static IEnumerable<(string, PtxKernel)> OfSums(DeviceSums sums, bool inMemory, string purpose)
    {
        var (count, isDouble) = (sums.Places.Length, sums.Code.IsDouble);
        var what = sums.IsOfRows ? "rows" : "a single column";
        yield return ($"{purpose}: sums of {what}, block by block", SpreadKernels.Parts(sums.Code, inMemory));
        if (!sums.IsOfRows)
        {
            yield return ($"{purpose}: running sums of columns", SpreadKernels.OfColumns(sums.Code, inMemory));
            yield return ($"{purpose}: running sums of columns, in pairs", SpreadKernels.Pairs(count));
        }
        yield return (
            $"{purpose}: what {(sums.IsOfRows ? "rows" : "columns")} come to",
            SpreadKernels.Totals(count, sums.IsOfRows, isDouble)
        );
    }

    private static bool InMemory(StepProgram program, KernelCode code, int[] numbers) =>
        NumbersAreInMemory(code, numbers.Any(number => program.Scopes[number] == Scope.Tensor));

    /// <summary>Bytes of numbers up to which they are handed in with a launch.</summary>
    public const int MostParameterBytes = 2048;

    /// <summary>Whether numbers are read from memory: where each slice has its own, or there are too many to hand them in.</summary>
    public static bool NumbersAreInMemory(KernelCode code, bool eachHasNumbers) =>
        code.Numbers > 0 && (eachHasNumbers || code.Numbers * code.Size > MostParameterBytes);
}
