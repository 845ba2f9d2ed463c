using Optim.Cli.Commands;

// `optim gpu-check` alone.
try
{
    return GpuCheckCommand.Create(Console.WriteLine).Parse(args).Invoke(new() { EnableDefaultExceptionHandler = false });
}
catch (CommandException e)
{
    Console.Error.WriteLine($"gpu-check: {e.Message}");
    return GpuCheckCommand.Differs;
}
