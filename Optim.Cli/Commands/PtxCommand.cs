using System.CommandLine;
using Optim.Core;
using Optim.Cuda;
using Optim.Kernels;

namespace Optim.Cli.Commands;

/// <summary><c>optim ptx</c>: the kernels of a rule for NVIDIA's devices.</summary>
internal static class PtxCommand
{
    public const string Name = "ptx";

    public const string Description = "Print the kernels that a rule's step is on NVIDIA's devices, as PTX";

    /// <summary>What its arguments are called.</summary>
    public const string Rules = "RULE";

    private static readonly DType[] dtypes =
    [
        DType.Float32,
        DType.Float64,
        DType.BFloat16,
        DType.Float16,
        DType.Complex64,
        DType.Complex128,
    ];

    public static Command Create(Screen screen)
    {
        var rule = new Argument<string>("rule")
        {
            HelpName = Rules,
            Description =
                "Such as adamw, adam:weight_decay=0.1,amsgrad=True, or \"chain(clip_by_global_norm(1), scale_by_adam, scale(-1e-3))\"",
        };
        var dtype = new Option<string>("--dtype")
        {
            HelpName = "DTYPE",
            Description = $"The dtype of the parameters: {string.Join(", ", dtypes.Select(each => each.Name()))}",
            DefaultValueFactory = _ => DType.Float32.Name(),
        };
        var step = new Option<long>("--step")
        {
            HelpName = "N",
            Description = "Which step, counted from 1: a few rules have other kernels in their first steps",
            DefaultValueFactory = _ => 1000,
        };
        var command = new Command(Name, Description) { rule, dtype, step };
        command.SetAction(parsed =>
        {
            var named = NamedSettings.Parse(parsed.GetRequiredValue(rule));
            var found = ExplainCommand.Known(named.Name);
            var options = found.Replace(found.Defaults, named.Settings.Select(each => KeyValuePair.Create(each.Name, each.Value)));
            var name = parsed.GetRequiredValue(dtype);
            var index = Array.FindIndex(dtypes, each => each.Name() == name);
            if (index < 0)
                throw new CommandException(
                    $"--dtype is '{name}'; it must be one of {string.Join(", ", dtypes.Select(each => each.Name()))}."
                );
            var number = parsed.GetValue(step);
            if (number < 1)
                throw new CommandException($"--step is {number}; it must be at least 1.");
            foreach (var line in Lines(found, options, dtypes[index], number))
                screen.Say(line);
            return 0;
        });
        return command;
    }

    private static IReadOnlyList<(string Purpose, PtxKernel Kernel)> Kernels(
        Rule rule,
        IRecorded recorded,
        IOptimizerOptions options,
        DType dtype,
        long step
    )
    {
        var narrow = Narrow(rule, options, dtype);
        if (!rule.Has("capturable") || !rule.Read(options, "capturable").Equals(OptionValue.NewBool(true)))
            return ProgramKernels.Of(recorded.Recorded(options, step), dtype, narrow);
        var program = CapturableStep.programOf(rule, options);
        return ProgramKernels.OnLeaves(program, CapturableStep.leavesOf(rule, program), dtype, narrow);
    }

    /// <summary>How a parameter's columns are kept once it has taken a step; null where all of them are wide.</summary>
    private static NarrowColumns? Narrow(Rule rule, IOptimizerOptions options, DType dtype)
    {
        if (rule.OptionTable.StorageOf(options).Format == StateFormat.Float32)
            return null;
        var (small, tensor) = (rule.Replace(options, StorageFields.minimum, OptionValue.NewInt(0)), TensorView.Zeros(dtype, [8, 6]));
        var parameters = Parameters.Of([tensor]);
        var state = rule.Step(small, parameters, Gradients.OfDense([tensor.Copy()]), rule.Init(small, parameters));
        return new([.. state.Columns.Select(column => column.NarrowRow(0).Kind)]);
    }

    private static IEnumerable<string> Lines(Rule rule, IOptimizerOptions options, DType dtype, long step)
    {
        if (rule is not IRecorded recorded)
            throw new CommandException($"{rule.Name} works on whole tensors: libtorch's operators step it on other devices.");
        foreach (var (purpose, kernel) in Kernels(rule, recorded, options, dtype, step))
        {
            yield return $"// {rule.Name}, {dtype.Name()}, {purpose}";
            foreach (var line in kernel.Text.TrimEnd('\n').Split('\n'))
                yield return line;
        }
    }
}
