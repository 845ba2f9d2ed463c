using System.CommandLine;
using Optim.Core;
using Optim.Cuda;
using Optim.Kernels;

namespace Optim.Cli.Commands;

/// <summary><c>optim gpu-check</c>: every kernel on the devices of this machine.</summary>
internal static class GpuCheckCommand
{
    public const string Name = "gpu-check";

    public const string Description =
        "Run every kernel on NVIDIA's devices of this machine, compare bits with the processor's, and measure speed";

    /// <summary>The exit code where a bit differs.</summary>
    public const int Differs = 1;

    /// <param name="say">Prints a line.</param>
    public static Command Create(Action<string> say)
    {
        var repetitions = new Option<int>("--repetitions")
        {
            HelpName = "N",
            Description = "How often each kernel is compared",
            DefaultValueFactory = _ => 3,
        };
        var elements = new Option<long>("--elements")
        {
            HelpName = "N",
            Description =
                "Elements of the tensor by which speed is measured, a multiple of 64; up to 48 bytes of the device's memory for each",
            DefaultValueFactory = _ => 1L << 26,
        };
        var rules = new Option<string[]>("--rule") { HelpName = "NAME", Description = "Only the step of this rule; may be repeated" };
        var command = new Command(Name, Description) { repetitions, elements, rules };
        command.SetAction(parsed =>
        {
            var (times, count) = (parsed.GetValue(repetitions), parsed.GetValue(elements));
            if (times < 1)
                throw new CommandException($"--repetitions is {times}; it must be at least 1.");
            if (count < 64 || count % 64 != 0)
                throw new CommandException($"--elements is {count}; it must be a multiple of 64, and at least 64.");
            var programs = Chosen(parsed.GetValue(rules) ?? []);
            if (CudaDriver.TryLoad() is not { } driver || driver.Devices == 0)
                throw new CommandException("there is no device of NVIDIA's here, or no driver (libcuda.so.1, nvcuda.dll).");
            var good = true;
            try
            {
                var host = new DriverHost(driver);
                for (var device = 0; device < driver.Devices; device++)
                    good &= new GpuCheck(driver, host, device, say).Run(programs, times, count);
                if (driver.Devices > 1)
                    good &= Together(driver, host, say);
            }
            catch (CudaException e)
            {
                throw new CommandException(e.Message);
            }
            return good ? 0 : Differs;
        });
        return command;
    }

    /// <summary>Steps over all devices together; true where no bit differs.</summary>
    internal static bool Together(CudaDriver driver, CudaHost host, Action<string> say)
    {
        var different = 0L;
        foreach (var (name, program) in Programs().Where(each => each.Program.HasReductions))
        {
            var differ = GpuCheck.CompareDevices(driver, host, program);
            if (differ > 0)
                say(FormattableString.Invariant($"{name}, on all devices together: {differ} differ"));
            different += differ;
        }
        say(FormattableString.Invariant($"{driver.Devices} devices together: {different} elements differ"));
        return different == 0;
    }

    private static IReadOnlyList<(string Name, StepProgram Program)> Chosen(string[] names)
    {
        var all = Programs();
        foreach (var name in names)
            if (!all.Any(each => each.Name.Equals(name, StringComparison.OrdinalIgnoreCase)))
                throw new CommandException(
                    $"--rule is {name}; it must be one of {string.Join(", ", all.Select(each => each.Name).Order(StringComparer.Ordinal))}."
                );
        return names.Length == 0 ? all : [.. all.Where(each => names.Contains(each.Name, StringComparer.OrdinalIgnoreCase))];
    }

    /// <summary>The steps of every rule that works by recorded programs, and AdamW with what surrounds a step.</summary>
    internal static IReadOnlyList<(string Name, StepProgram Program)> Programs()
    {
        var programs = new List<(string, StepProgram)>();
        foreach (var rule in Optim.Core.Rules.All.Concat(Catalogue.All.Select(entry => entry.Rule)).DistinctBy(rule => rule.Name))
            if (rule is IRecorded recorded)
                programs.Add((rule.Name, recorded.Recorded(rule.Defaults, 1000)));
        var around = new Surroundings(true, true, true, true).With(AverageMove.FromOld);
        programs.Add(("AdamW, surrounded", around.Around(programs.Find(each => each.Item1 == "AdamW").Item2)));
        return programs;
    }
}
