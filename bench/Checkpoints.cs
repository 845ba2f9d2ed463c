using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Optim.Kernels;

namespace Optim.Bench;

/// <summary>
/// <c>./optim bench checkpoint</c>: how fast an Adam state is saved and loaded, against copying a file of that size and flushing it to the
/// disk, in the same run and with the file in the cache; and the memory that either takes beside the state.
/// </summary>
internal static class Checkpoints
{
    public static Command Create()
    {
        var megabytes = new Option<int>("--megabytes") { Description = "Size of the state.", DefaultValueFactory = _ => 1024 };
        var rounds = new Option<int>("--rounds") { Description = "The median of so many.", DefaultValueFactory = _ => 5 };
        var folder = new Option<string>("--folder") { Description = "Where the files lie.", DefaultValueFactory = _ => Path.GetTempPath() };
        var command = new Command("checkpoint", "Saving and loading a state of Adam, against copying a file.")
        {
            megabytes,
            rounds,
            folder,
        };
        command.SetAction(result => Run(result.GetValue(megabytes), result.GetValue(rounds), result.GetRequiredValue(folder)));
        return command;
    }

    private static void Run(int megabytes, int rounds, string folder)
    {
        var (path, copy) = (Path.Combine(folder, "optim-bench.pt"), Path.Combine(folder, "optim-bench.copy"));
        const int tensors = 16;
        var elements = ((long)megabytes << 20) / 8 / tensors;
        var parameters = Enumerable.Range(0, tensors).Select(i => Param.Zeros($"w{i}", DType.Float32, elements)).ToArray();
        var adam = new Adam(parameters);
        foreach (var parameter in parameters)
            parameter.Gradient<float>().Fill(0.5f);
        adam.Step();
        foreach (var parameter in parameters)
            parameter.DropGradient();
        try
        {
            var (copies, saves, loads) = (new List<double>(), new List<double>(), new List<double>());
            var (saveMemory, loadMemory) = (0L, 0L);
            Checkpoint.Save(path, ("optimizer", adam));
            for (var round = 0; round < rounds; round++)
            {
                copies.Add(Seconds(() => CopyAndFlush(path, copy)));
                saveMemory = Math.Max(saveMemory, Memory(() => saves.Add(Seconds(() => Checkpoint.Save(path, ("optimizer", adam))))));
                var fresh = new Adam(parameters);
                loadMemory = Math.Max(
                    loadMemory,
                    Memory(() => loads.Add(Seconds(() => Checkpoint.Load(path, ("optimizer", fresh))))) - ((long)megabytes << 20)
                );
                GC.KeepAlive(fresh);
                fresh = null;
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }
            var (copying, saving, loading) = (Median(copies), Median(saves), Median(loads));
            Say("copy and flush", copying, copying, 0);
            Say("save", saving, copying, saveMemory);
            Say("load", loading, copying, loadMemory);
        }
        finally
        {
            File.Delete(path);
            File.Delete(copy);
        }

        void Say(string what, double seconds, double copying, long memory) =>
            Console.WriteLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{what, -15} {seconds, 6:f2} s  {megabytes / seconds, 6:f0} MB/s  {copying / seconds, 5:f2} of the rate of copying  {memory >> 20, 5} MB beside the state"
                )
            );
    }

    private static void CopyAndFlush(string from, string to)
    {
        using var source = File.OpenHandle(from);
        using var target = File.OpenHandle(to, FileMode.Create, FileAccess.Write);
        var buffer = new byte[1 << 20];
        for (long at = 0; RandomAccess.Read(source, buffer, at) is > 0 and var count; at += count)
            RandomAccess.Write(target, buffer.AsSpan(0, count), at);
        RandomAccess.FlushToDisk(target);
    }

    private static double Seconds(Action action)
    {
        var clock = Stopwatch.StartNew();
        action();
        return clock.Elapsed.TotalSeconds;
    }

    /// <summary>How far the resident memory of this process rises above what it is now (Linux; 0 elsewhere).</summary>
    private static long Memory(Action action)
    {
        if (!File.Exists("/proc/self/clear_refs"))
        {
            action();
            return 0;
        }
        File.WriteAllText("/proc/self/clear_refs", "5");
        var before = Status("VmRSS:");
        action();
        return Status("VmHWM:") - before;
    }

    private static long Status(string name) =>
        long.Parse(
            File.ReadLines("/proc/self/status")
                .First(line => line.StartsWith(name, StringComparison.Ordinal))
                .Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1],
            CultureInfo.InvariantCulture
        ) * 1024;

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);
}
