using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>The kernels of a program, for parameters of a dtype: those that its visits are launched as.</summary>
internal static class ProgramKernels
{
    /// <summary>The kernels in order, with what each is for.</summary>
    public static IReadOnlyList<(string Purpose, PtxKernel Kernel)> Of(StepProgram program, DType dtype)
    {
        var kernels = new List<(string, PtxKernel)>();
        var (run, visits) = (new ProgramRun(program), program.VisitsFor(dtype));
        var isWhole = RunWhole(program);
        for (var i = 0; i < visits.Length; i++)
        {
            var visit = visits[i];
            var purpose = FormattableString.Invariant($"visit {i + 1} of {visits.Length}");
            if (visit.Made.Length + visit.Taken.Length > 0)
            {
                kernels.AddRange(WithSpreads(program, visit, purpose));
                continue;
            }
            var numbers = run.NumbersFor(i, dtype).Code;
            var eachHasNumbers = isWhole ? !numbers.IsOfStep : HasOwn(program, visit.Numbers);
            if (isWhole && !numbers.IsOfStep && !visit.Code.IsEmpty && NumbersAreInMemory(visit.Code, eachHasNumbers))
                kernels.Add(($"{purpose}: the numbers that it takes", NumbersKernel.Render(numbers, null)));
            kernels.AddRange(OfElements(visit.Code, eachHasNumbers, purpose));
            if (isWhole)
                foreach (var isLargest in LargestOfAll(program, visit))
                    kernels.Add(($"{purpose}: all tensors together", TotalsKernel.OfParts(isLargest)));
        }
        var end = run.NumbersFor(visits.Length, dtype).Code;
        if (isWhole && end.Stores.Length > 0)
            kernels.Add(("after the last visit: the numbers that tensors keep", NumbersKernel.Render(end, null)));
        return kernels;
    }

    /// <summary>The same of a step whose leaves lie on the device.</summary>
    /// <param name="program">A step of any number.</param>
    /// <param name="leaves">The leaves there.</param>
    /// <param name="dtype">The dtype of the parameters.</param>
    public static IReadOnlyList<(string Purpose, PtxKernel Kernel)> OnLeaves(StepProgram program, Node[] leaves, DType dtype)
    {
        var visit = program.VisitsFor(dtype)[0];
        return
        [
            (
                "the numbers of the step, and those of the next one",
                NumbersKernel.Render(new(program, visit.Numbers, [], [], [], dtype, leaves), null)
            ),
            ("visit 1 of 1: each element", ElementKernel.Render(visit.Code, visit.Code.Numbers > 0)),
        ];
    }

    private static IEnumerable<(string, PtxKernel)> OfElements(KernelCode code, bool eachHasNumbers, string purpose)
    {
        if (code.IsEmpty)
            yield break;
        var inMemory = NumbersAreInMemory(code, eachHasNumbers);
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

    private static IEnumerable<(string, PtxKernel)> WithSpreads(StepProgram program, Visit visit, string purpose)
    {
        var there = new DeviceVisit(program, visit);
        foreach (var made in visit.Made)
            if (made.Work?.Visit is { } work)
                yield return (
                    $"{purpose}: what is made of totals",
                    ElementKernel.Render(work.Code, NumbersAreInMemory(work.Code, HasOwn(program, work.Numbers)))
                );
        var eachHasNumbers = HasOwn(program, visit.Numbers);
        foreach (var sums in there.Sums)
        {
            var (count, inMemory) = (sums.Places.Length, NumbersAreInMemory(sums.Code, eachHasNumbers));
            var (what, all) = sums.IsOfRows ? ("rows", "rows") : ("a single column", "columns");
            yield return ($"{purpose}: sums of {what}, block by block", SpreadKernels.Parts(sums.Code, inMemory));
            if (!sums.IsOfRows)
            {
                yield return ($"{purpose}: running sums of columns", SpreadKernels.OfColumns(sums.Code, inMemory));
                yield return ($"{purpose}: running sums of columns, in pairs", SpreadKernels.Pairs(count));
            }
            yield return ($"{purpose}: what {all} come to", SpreadKernels.Totals(count, sums.IsOfRows, sums.Code.IsDouble));
        }
        foreach (var kernel in OfElements(there.Rest, eachHasNumbers, purpose))
            yield return kernel;
    }

    private static bool HasOwn(StepProgram program, int[] numbers) => numbers.Any(number => program.Scopes[number] == Scope.Tensor);

    private static IEnumerable<bool> LargestOfAll(StepProgram program, Visit visit) =>
        visit
            .Reductions.Where(reduction => program.Scopes[reduction] == Scope.AllTensors)
            .Select(reduction => program.Nodes[reduction].Operation == Operation.LargestMagnitude)
            .Distinct()
            .Order();

    /// <summary>Whether all visits go one after the other, with what is made of tensors worked out there.</summary>
    public static bool RunWhole(StepProgram program) => NumberCode.Has(program) && !program.HasSpreads;

    /// <summary>Bytes of numbers up to which they are handed in with a launch.</summary>
    public const int MostParameterBytes = 2048;

    /// <summary>Whether numbers are read from memory: where each slice has its own, or there are too many to hand them in.</summary>
    public static bool NumbersAreInMemory(KernelCode code, bool eachHasNumbers) =>
        code.Numbers > 0 && (eachHasNumbers || code.Numbers * code.Size > MostParameterBytes);
}
