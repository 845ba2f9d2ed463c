using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>The kernels of a program, for parameters of a dtype: those that its visits are launched as.</summary>
internal static class ProgramKernels
{
    /// <summary>The kernels in order, with what each is for.</summary>
    /// <param name="program">The program.</param>
    /// <param name="dtype">The dtype of the parameters.</param>
    /// <param name="narrow">How their state is kept; null where it is wide.</param>
    public static IReadOnlyList<(string Purpose, PtxKernel Kernel)> Of(StepProgram program, DType dtype, NarrowColumns? narrow = null)
    {
        var kernels = new List<(string, PtxKernel)>();
        var (run, visits) = (new ProgramRun(program), program.VisitsFor(dtype));
        var isWhole = RunWhole(program);
        for (var i = 0; i < visits.Length; i++)
        {
            var visit = visits[i];
            var purpose = FormattableString.Invariant($"visit {i + 1} of {visits.Length}");
            if (visit.Made.Length + visit.Taken.Length > 0)
                kernels.AddRange(WithSpreads(run, i, dtype, purpose));
            else
            {
                var each = Numbers(run, i, -1, dtype, visit, purpose, kernels);
                kernels.AddRange(OfElements(visit.Code, each, purpose, narrow));
            }
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
    /// <param name="narrow">How their state is kept; null where it is wide.</param>
    public static IReadOnlyList<(string Purpose, PtxKernel Kernel)> OnLeaves(
        StepProgram program,
        Node[] leaves,
        DType dtype,
        NarrowColumns? narrow = null
    )
    {
        var visit = program.VisitsFor(dtype)[0];
        return
        [
            (
                "the numbers of the step, and those of the next one",
                NumbersKernel.Render(new(program, visit.Numbers, [], [], [], dtype, leaves), null)
            ),
            ($"visit 1 of 1: {OfBlocks(narrow)}", OfElements(visit.Code, visit.Code.Numbers > 0, narrow, countsThere: true)),
        ];
    }

    /// <summary>Adds the kernel of the numbers that a visit takes, or one of the spreads that it reads; says whether these are in memory for that.</summary>
    private static bool Numbers(
        ProgramRun run,
        int visit,
        int work,
        DType dtype,
        Visit done,
        string purpose,
        List<(string, PtxKernel)> kernels
    )
    {
        if (!RunWhole(run.Program))
            return done.Numbers.Any(number => run.Program.Scopes[number] == Scope.Tensor);
        var numbers = run.NumbersFor(visit, dtype, work).Code;
        if (!numbers.IsOfStep && !done.Code.IsEmpty && NumbersAreInMemory(done.Code, true))
            kernels.Add(($"{purpose}: the numbers that it takes", NumbersKernel.Render(numbers, null)));
        return !numbers.IsOfStep;
    }

    private static string OfBlocks(NarrowColumns? narrow) =>
        narrow is null ? "each element" : "each element, a warp for 256 of them, whose state is narrow";

    private static PtxKernel OfElements(KernelCode code, bool inMemory, NarrowColumns? narrow, bool countsThere = false) =>
        narrow is null ? ElementKernel.Render(code, inMemory) : NarrowKernel.Render(code, narrow, inMemory, countsThere);

    private static IEnumerable<(string, PtxKernel)> OfElements(
        KernelCode code,
        bool eachHasNumbers,
        string purpose,
        NarrowColumns? narrow = null
    )
    {
        if (code.IsEmpty)
            yield break;
        var inMemory = NumbersAreInMemory(code, eachHasNumbers);
        if (code.Reductions.Length == 0)
        {
            yield return ($"{purpose}: {OfBlocks(narrow)}", OfElements(code, inMemory, narrow));
            yield break;
        }
        yield return ($"{purpose}: each element, and 32 running sums of each block of 4096", SumsKernel.Render(code, inMemory));
        foreach (var isLargest in code.Reductions.Select(reduction => reduction.Kind == Operation.LargestMagnitude).Distinct().Order())
        {
            yield return ($"{purpose}: the running sums of each block", JoinKernel.OfBlocks(isLargest));
            yield return ($"{purpose}: the blocks of each tensor", JoinKernel.OfSlices(isLargest));
        }
    }

    private static List<(string, PtxKernel)> WithSpreads(ProgramRun run, int index, DType dtype, string purpose)
    {
        var (visit, kernels) = (run.VisitFor(index, dtype), new List<(string, PtxKernel)>());
        var there = new DeviceVisit(run.Program, visit);
        for (var i = 0; i < visit.Made.Length; i++)
            if (visit.Made[i].Work?.Visit is { } work)
            {
                var each = Numbers(run, index, i, dtype, work, $"{purpose}: what is made of totals", kernels);
                kernels.Add(($"{purpose}: what is made of totals", ElementKernel.Render(work.Code, NumbersAreInMemory(work.Code, each))));
            }
        var eachHasNumbers = Numbers(run, index, -1, dtype, visit, purpose, kernels);
        foreach (var sums in there.Sums)
        {
            var (count, inMemory) = (sums.Places.Length, NumbersAreInMemory(sums.Code, eachHasNumbers));
            var (what, all) = sums.IsOfRows ? ("rows", "rows") : ("a single column", "columns");
            kernels.Add(($"{purpose}: sums of {what}, block by block", SpreadKernels.Parts(sums.Code, inMemory)));
            if (!sums.IsOfRows)
            {
                kernels.Add(($"{purpose}: running sums of columns", SpreadKernels.OfColumns(sums.Code, inMemory)));
                kernels.Add(($"{purpose}: running sums of columns, in pairs", SpreadKernels.Pairs(count)));
            }
            kernels.Add(($"{purpose}: what {all} come to", SpreadKernels.Totals(count, sums.IsOfRows, sums.Code.IsDouble)));
        }
        kernels.AddRange(OfElements(there.Rest, eachHasNumbers, purpose));
        return kernels;
    }

    private static IEnumerable<bool> LargestOfAll(StepProgram program, Visit visit) =>
        visit
            .Reductions.Where(reduction => program.Scopes[reduction] == Scope.AllTensors)
            .Select(reduction => program.Nodes[reduction].Operation == Operation.LargestMagnitude)
            .Distinct()
            .Order();

    /// <summary>Whether all visits go one after the other, with what is made of tensors worked out there.</summary>
    public static bool RunWhole(StepProgram program) => NumberCode.Has(program);

    /// <summary>Bytes of numbers up to which they are handed in with a launch.</summary>
    public const int MostParameterBytes = 2048;

    /// <summary>Whether numbers are read from memory: where each slice has its own, or there are too many to hand them in.</summary>
    public static bool NumbersAreInMemory(KernelCode code, bool eachHasNumbers) =>
        code.Numbers > 0 && (eachHasNumbers || code.Numbers * code.Size > MostParameterBytes);
}
